"""Plans on a command line."""

from __future__ import annotations

import pytest

from recommenders.data.errors import DatasetError
from recommenders.data.splits import ColdItemsSplit, CombinedSplit, PublishedSplit, TimeSplit, parse
from recommenders.data.splits.text import read_plan


def test_a_kind_and_its_options_are_read() -> None:
    assert read_plan("published") == PublishedSplit()
    assert read_plan("cold-items, share=0.3,seed=7") == ColdItemsSplit(share=0.3, seed=7)
    assert isinstance(read_plan("time,validation=0.2"), TimeSplit)
    assert read_plan("combined, items=published,known=2") == CombinedSplit(
        items="published", known=2
    )
    assert read_plan("time,cuts=[1, 20],known=2") == TimeSplit(cuts=(1, 20), known=2)
    assert read_plan("random,seed=1") == parse({"kind": "random", "seed": 1})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cold-items,share", "'share' is not option=value"),
        ("cold-items,share=much", "share is 'much', not a number"),
        ("combined,items=publisht", "items is 'publisht', not a number"),
        ("time,cuts=[1,2", "'2' is not option=value"),
        ("time,cuts=[1]", r"cuts are \[1\], not two"),
        ("cold-items,colour=1", "unknown option colour"),
        ("lukewarm", "kind is 'lukewarm'; there are"),
        ("", "kind is ''"),
    ],
)
def test_what_cannot_be_read_is_named(text: str, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        read_plan(text)
