from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from recommenders.data.errors import DatasetError
from recommenders.data.readers.mind import read_mind
from services.common.tabular import files

if TYPE_CHECKING:
    from pathlib import Path

NEWS = (
    'N1\tsports\tgolf\tA "round" of golf\tAn abstract, said "he\thttps://x\t[]\t[]\n'
    "N2\tnews\t\tBare\t\thttps://x\t[]\t[]\n"
    "N-3\thealth\tfood\tBread\tOn bread.\thttps://x\t[]\t[]\n"
)
BEHAVIORS = (
    "1\tU7\t11/11/2019 9:05:58 AM\tN2 N1\tN-3-1 N2-0\n"
    "2\tU8\t11/12/2019 12:00:00 AM\t\tN1-1 N2-1\n"
    "3\tU7\t11/12/2019 6:11:30 PM\tN2 N1\tN1-0 N2-1\n"
)


def written(folder: Path, *, news: str = NEWS, behaviors: str = BEHAVIORS) -> Path:
    (folder / "news.tsv").write_text(news)
    (folder / "behaviors.tsv").write_text(behaviors)
    return folder


CLICKS = [
    ("U7", "N2", 0),
    ("U7", "N1", 0),
    ("U7", "N-3", 1573463158),
    ("U8", "N1", 1573516800),
    ("U8", "N2", 1573516800),
    ("U7", "N2", 1573582290),
]


@pytest.mark.parametrize("block", [None, 64])
def test_clicks_are_histories_once_and_clicked_impressions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int | None
) -> None:
    """In blocks of one row, too: a user's history is in each of the rows."""
    folder = written(tmp_path)
    if block is not None:
        monkeypatch.setattr(files, "BLOCK", 80)
        (folder / "news.tsv").write_text(NEWS.replace('An abstract, said "he', "x"))
    dataset = read_mind(folder)
    assert dataset.items["title"].to_pylist() == ['A "round" of golf', "Bare", "Bread"]
    assert dataset.items["category"].to_pylist() == ["sports, golf", "news", "health, food"]
    rows = dataset.interactions.to_pydict()
    found = list(zip(rows["user_id"], rows["item_id"], rows["timestamp"], strict=True))
    assert found == CLICKS
    assert set(rows["weight"]) == {1.0}
    assert dataset.histories() == {"U7": ["N2", "N1", "N-3", "N2"], "U8": ["N1", "N2"]}


@pytest.mark.parametrize(
    ("news", "behaviors", "message"),
    [
        (NEWS + "N4\tnews\n", BEHAVIORS, r"news\.tsv, line 4: 2 values for 8 columns"),
        (NEWS, BEHAVIORS + "4\tU9\tnoon\tN1\tN1-1\n", r"behaviors\.tsv, line 4: time 'noon' is"),
        (NEWS, BEHAVIORS + "4\tU9\t13/12/2019 6:11:30 PM\tN1\tN1-1\n", "line 4: time '13/12"),
        (NEWS, BEHAVIORS + "4\tU9\t11/12/2019 6:11:30 PM\tN9\tN1-1\n", "line 4: history 'N9' is"),
        (NEWS, BEHAVIORS + "4\tU9\t11/12/2019 6:11:30 PM\tN1\tN9-1\n", "line 4: impression 'N9' "),
        (NEWS, BEHAVIORS + "4\tU9\t11/12/2019 6:11:30 PM\tN1\tN1\n", "line 4: .* ends neither"),
        (NEWS, BEHAVIORS + "4\tU9\t11/12/2019 6:11:30 PM\tN1\t\n", "line 4: impressions is empty"),
        (NEWS, BEHAVIORS + "4\t\t11/12/2019 6:11:30 PM\tN1\tN1-1\n", "line 4: user is empty"),
        (NEWS, BEHAVIORS + "4\tU9\n", "line 4: 2 values for 5 columns"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, news: str, behaviors: str, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        read_mind(written(tmp_path, news=news, behaviors=behaviors))
