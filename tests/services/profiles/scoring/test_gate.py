"""Profiles do not count where the manifest says that they may do harm."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from reclm_client.schemas.score import Interest
from services.profiles.errors import DamagedBundle
from services.profiles.scoring.scorer import open_scorer
from services.profiles.scoring.values import Interests
from tests.services.profiles.scoring.test_scorer import NOBODY, VERSION, A, C, D, ranked, unit, why
from tests.support.bundles import little

if TYPE_CHECKING:
    from pathlib import Path

    from services.profiles.scoring.scorer import Scorer

PROFILE = unit(1)
"""Worth 10 for c and 20 for d; in `little` only a is in anybody's training data."""


def gate(*segments: tuple[int, str, float | None], margin: float = 0.005) -> dict[str, Any]:
    return {
        "format": 2,
        "gate": {
            "metric": "ndcg@20",
            "level": 0.95,
            "margin": margin,
            "segments": [
                {
                    "clicks": clicks,
                    "items": items,
                    "users": 100,
                    "difference": 0,
                    "low": low,
                    "high": 0,
                }
                for clicks, items, low in segments
            ],
        },
    }


def scorer(folder: Path, changed: dict[str, Any]) -> Scorer:
    made = little()
    made.changed = changed
    return open_scorer(made.write(folder, "b"), VERSION)


def scores(one: Scorer, **changes: Any) -> dict[str, float]:
    return dict(ranked(one.rank(replace(NOBODY, profile=PROFILE, **changes))))


def test_where_profiles_do_harm_a_user_is_scored_as_without(tmp_path: Path) -> None:
    harm = gate((0, "warm", 0.01), (0, "cold", 0.01), (1, "warm", -0.1), (1, "cold", -0.1))
    one, plain = scorer(tmp_path / "gated", harm), scorer(tmp_path / "plain", {})
    assert scores(one) == scores(plain)
    assert scores(one)["d"] == 20.25
    assert scores(one, clicks=(A,)) == {"b": 2, "c": 0, "d": 0.25}
    assert scores(plain, clicks=(A,)) == {"b": 2, "c": 10, "d": 20.25}
    # The last segment is that of all who have more.
    assert scores(one, clicks=(A, C)) == {"b": 2, "d": 2.25}
    phrases = Interests(("twos",), unit(1)[None])
    question = replace(NOBODY, clicks=(A,), profile=PROFILE, interests=phrases)
    assert all(why(item).interests == () for item in one.rank(question).items)
    assert why(plain.rank(question).items[0]).interests == (Interest("twos", 20),)


def test_who_is_known_by_nothing_but_a_profile_that_is_left_out_is_not_known(
    tmp_path: Path,
) -> None:
    one = scorer(tmp_path, gate((0, "warm", -0.1), (0, "cold", -0.1)))
    assert one.rank(replace(NOBODY, profile=PROFILE)).known_by == "nothing"


def test_warm_and_cold_items_are_apart(tmp_path: Path) -> None:
    made = little()
    made.arrays |= {"seen_indptr": np.array([0, 3]), "seen_indices": np.array([0, 1, 2], np.int32)}
    plain = made.write(tmp_path / "plain", "b")
    assert dict(ranked(open_scorer(plain, VERSION).rank(replace(NOBODY, profile=PROFILE)))) == {
        "a": 0,
        "b": 0,
        "c": 10,
        "d": 20.25,
    }
    for items, expected in (
        ("cold", {"a": 0, "b": 0, "c": 10, "d": 0.25}),
        ("warm", {"a": 0, "b": 0, "c": 0, "d": 20.25}),
    ):
        made.changed = gate((0, items, -0.1))
        one = open_scorer(made.write(tmp_path / items, "b"), VERSION)
        assert scores(one) == expected
        best = max(expected, key=lambda name: expected[name])
        assert one.rank(replace(NOBODY, profile=PROFILE)).items[0].item_id == best
        named = replace(NOBODY, profile=PROFILE, candidates=(C, D))
        assert dict(ranked(one.rank(named))) == {name: expected[name] for name in "cd"}
        phrases = Interests(("twos",), unit(1)[None])
        reasons = {
            item.item_id: why(item).interests
            for item in one.rank(replace(named, interests=phrases)).items
        }
        kept = "c" if items == "cold" else "d"
        assert {name for name, found in reasons.items() if found} == {kept}


def test_the_margin_and_what_was_not_measured_leave_profiles_in(tmp_path: Path) -> None:
    plain = scores(scorer(tmp_path / "plain", {}))
    for name, low in (("unknown", None), ("within", -0.005)):
        one = scorer(tmp_path / name, gate((0, "warm", low), (0, "cold", low)))
        assert scores(one) == plain
    assert scores(scorer(tmp_path / "none", {"format": 2, "gate": None})) == plain
    more = gate((3, "warm", -0.1), (3, "cold", -0.1))
    assert scores(scorer(tmp_path / "fewer", more), clicks=(A,))["d"] == 20.25


def test_a_bundle_of_the_format_before_is_read_without_a_gate(tmp_path: Path) -> None:
    old = gate((0, "warm", -0.1), (0, "cold", -0.1)) | {"format": 1}
    old.pop("gate")
    assert scores(scorer(tmp_path / "old", old))["d"] == 20.25
    with pytest.raises(DamagedBundle, match="has format 3, and this service reads formats 1 and 2"):
        scorer(tmp_path / "new", {"format": 3})
    broken = gate((0, "lukewarm", -0.1))
    with pytest.raises(DamagedBundle, match=r"gate.segments.0.items"):
        scorer(tmp_path / "broken", broken)


def test_a_stored_vector_is_as_it_was_trained(tmp_path: Path) -> None:
    one = scorer(tmp_path / "gated", gate((0, "warm", -0.1), (0, "cold", -0.1)))
    plain = scorer(tmp_path / "plain", {})
    assert scores(one, user=0) == scores(plain, user=0)
