"""Withdrawn rows: by time, and left out of rankings and reasons by both kinds of scorers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from services.profiles.scoring.scorer import open_scorer
from services.profiles.scoring.values import Question
from services.profiles.scoring.withdrawn import WithdrawnRows
from tests.services.profiles.scoring.test_bundle import VERSION
from tests.support.bundles import little, little_weights

if TYPE_CHECKING:
    from pathlib import Path


def test_rows_are_withdrawn_from_their_time_on(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = WithdrawnRows({"a": 0, "b": 1, "c": 2})
    assert rows.now().tolist() == []
    for item_id, from_ms in (("a", 2_000), ("c", 0), ("elsewhere", 0), ("b", 3_000)):
        rows.follow(item_id, from_ms)
    found = {}
    for at in (1.999, 2.0, 3.5):
        monkeypatch.setattr("time.time", lambda at=at: at)
        found[at] = sorted(rows.now().tolist())
    assert found == {1.999: [2], 2.0: [0, 2], 3.5: [0, 1, 2]}
    rows.follow("c", None)
    assert sorted(rows.now().tolist()) == [0, 1]


def ask(**changed: Any) -> Question:
    given = {
        "user": None,
        "clicks": [0, 1],
        "profile": None,
        "interests": None,
        "exclude": [],
        "candidates": None,
        "k": 4,
        "reasons": True,
        "withdrawn": np.array([1, 3]),
    }
    return Question(**{**given, **changed})


@pytest.mark.parametrize("made", [little, little_weights])
@pytest.mark.parametrize("user", [None, 0])
@pytest.mark.parametrize("candidates", [None, [2, 3]])
def test_withdrawn_items_are_neither_ranked_nor_named(
    tmp_path: Path, made: Any, user: int | None, candidates: list[int] | None
) -> None:
    """Of b and d: b was clicked, and counts as before, and d would be among the best."""
    scorer = open_scorer(made().write(tmp_path, "b"), VERSION)
    question = ask(user=user, candidates=candidates)
    before = scorer.rank(ask(user=user, candidates=candidates, withdrawn=np.empty(0, np.intp)))
    after = scorer.rank(question)
    scores = {item.item_id: item.score for item in before.items}
    assert set(scores) == {"c", "d"}
    assert {item.item_id: item.score for item in after.items} == {"c": scores["c"]}
    reasons = [past.item_id for item in after.items for past in item.reasons.history]
    assert "b" not in reasons
    if made is little_weights:
        assert "a" in reasons
        named = {past.item_id for item in before.items for past in item.reasons.history}
        assert named == {"a", "b"}


def test_a_withdrawn_click_counts_and_is_not_named(tmp_path: Path) -> None:
    """The vectors of a and b point in one direction: b is what carries a."""
    scorer = open_scorer(little().write(tmp_path, "b"), VERSION)
    for withdrawn, named in (([], ["b"]), ([1], [])):
        question = ask(clicks=[1], candidates=[0], withdrawn=np.array(withdrawn, np.intp))
        (item,) = scorer.rank(question).items
        assert (item.item_id, item.score) == ("a", 2)
        assert item.reasons is not None
        assert [past.item_id for past in item.reasons.history] == named


def test_a_ranking_has_as_many_items_as_before(tmp_path: Path) -> None:
    scorer = open_scorer(little().write(tmp_path, "b"), VERSION)
    ranking = scorer.rank(ask(clicks=[], k=2, withdrawn=np.array([3])))
    assert [item.item_id for item in ranking.items] == ["a", "b"]
