"""Scores and reasons against numbers worked out by hand; see `little` for what the bundles hold."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from reclm_client.schemas.score import Interest, PastItem, Reasons, ScoredItem
from services.profiles.domain.profile import Component, ProfileVersion
from services.profiles.scoring.reasons import FEW
from services.profiles.scoring.scorer import MOST_TRIED, open_scorer
from services.profiles.scoring.values import Interests, Question
from tests.support.bundles import ENCODER, little, little_weights, neighbours, seen

if TYPE_CHECKING:
    from pathlib import Path

    from services.profiles.scoring.scorer import Scorer
    from services.profiles.scoring.values import Ranking

A, B, C, D = range(4)
NOBODY = Question(
    user=None,
    clicks=(),
    profile=None,
    interests=None,
    exclude=(),
    candidates=None,
    k=20,
    reasons=True,
)
VERSION = ProfileVersion(
    Component("base", "1"), None, Component("prompt", "2"), Component(**ENCODER)
)


def unit(place: int, length: float = 1.0) -> np.ndarray:
    vector = np.zeros(384, np.float32)
    vector[place] = length
    return vector


def why(item: ScoredItem) -> Reasons:
    assert item.reasons is not None
    return item.reasons


def ranked(ranking: Ranking) -> list[tuple[str, float]]:
    return [(item.item_id, item.score) for item in ranking.items]


@pytest.fixture
def factors(tmp_path: Path) -> Scorer:
    return open_scorer(little().write(tmp_path, "factors"), VERSION)


@pytest.fixture
def weights(tmp_path: Path) -> Scorer:
    return open_scorer(little_weights().write(tmp_path, "weights"), VERSION)


def test_a_user_of_whom_nothing_is_known_gets_what_the_tower_says_of_nobody(
    factors: Scorer,
) -> None:
    ranking = factors.rank(NOBODY)
    assert ranking.known_by == "nothing"
    assert ranked(ranking) == [("d", 0.25), ("a", 0), ("b", 0), ("c", 0)]
    assert all(why(item) == Reasons((), ()) for item in ranking.items)


def test_a_new_user_is_scored_by_clicks_and_each_item_names_those_that_carried_it(
    factors: Scorer,
) -> None:
    ranking = factors.rank(replace(NOBODY, clicks=(A, C)))
    assert ranking.known_by == "history"
    assert ranked(ranking) == [("d", 2.25), ("b", 2)]
    assert why(ranking.items[0]).history == (PastItem("c", 2),)
    assert why(ranking.items[1]).history == (PastItem("a", 2),)


def test_the_most_informative_click_is_named_first(factors: Scorer) -> None:
    (item,) = factors.rank(replace(NOBODY, clicks=(A, B, C), candidates=(D,))).items
    assert why(item).history == (PastItem("c", 2),)
    question = replace(NOBODY, clicks=(C, D), candidates=(A, B), exclude=(A,))
    assert ranked(factors.rank(question)) == [("b", 0)]
    made = factors.rank(replace(NOBODY, clicks=(A, D), candidates=(C,))).items
    assert why(made[0]).history == (PastItem("d", 2),)


def test_a_new_user_is_scored_by_a_profile_alone_and_interests_are_named(factors: Scorer) -> None:
    profile = (unit(0, 0.6) + unit(1, 0.8)).astype(np.float32)
    phrases = Interests(("ones", "twos", "neither"), np.stack([unit(0), unit(1), unit(2)]))
    ranking = factors.rank(replace(NOBODY, profile=profile, interests=phrases))
    assert ranking.known_by == "profile"
    assert [name for name, _ in ranked(ranking)] == ["d", "b", "c", "a"]
    assert [score for _, score in ranked(ranking)] == pytest.approx([16.25, 12, 8, 6])
    assert why(ranking.items[0]).interests == (Interest("twos", 20),)
    assert why(ranking.items[1]).interests == (Interest("ones", 20),)


def test_clicks_and_profile_add_up_and_interests_are_weighed_beside_the_clicks(
    factors: Scorer,
) -> None:
    phrases = Interests(("ones",), unit(0)[None])
    question = replace(NOBODY, clicks=(A,), profile=unit(1), interests=phrases)
    ranking = factors.rank(question)
    assert ranking.known_by == "history"
    assert ranked(ranking) == [("d", 20.25), ("c", 10), ("b", 2)]
    assert why(ranking.items[2]).history == (PastItem("a", 2),)
    assert why(ranking.items[2]).interests == (Interest("ones", 20),)
    assert why(ranking.items[0]) == Reasons((), ())


def test_having_a_profile_may_count_by_itself(tmp_path: Path) -> None:
    made = little()
    made.offset = np.array([0, 3], np.float32)
    scorer = open_scorer(made.write(tmp_path, "b"), VERSION)
    phrases = Interests(("neither",), unit(2)[None])
    (item,) = scorer.rank(
        replace(NOBODY, profile=unit(2), interests=phrases, candidates=(D,))
    ).items
    assert item.score == 6.25
    assert why(item).interests == (Interest("neither", 6),)


def test_a_click_that_is_left_out_is_not_counted_either(tmp_path: Path) -> None:
    made = little()
    made.count_weight = np.array([0, 3], np.float32)
    scorer = open_scorer(made.write(tmp_path, "b"), VERSION)
    (item,) = scorer.rank(replace(NOBODY, clicks=(A, B), candidates=(D,))).items
    assert item.score == 12.25
    assert why(item).history == (PastItem("a", 6), PastItem("b", 6))


def test_a_user_that_training_knew_gets_what_it_learnt(factors: Scorer) -> None:
    ranking = factors.rank(replace(NOBODY, user=0))
    assert ranking.known_by == "training"
    assert ranked(ranking) == [("b", 2), ("d", 1.25), ("c", 0.5)]
    # Why comes from the tower, which reads clicks: a alone, and it speaks for b.
    assert why(ranking.items[0]).history == (PastItem("a", 2),)
    assert why(ranking.items[1]).history == ()


def test_a_known_user_without_newer_clicks_is_still_known(factors: Scorer) -> None:
    assert factors.rank(replace(NOBODY, user=0, clicks=(A,))).known_by == "training"


def test_a_known_user_with_newer_clicks_is_scored_by_all_of_them(factors: Scorer) -> None:
    ranking = factors.rank(replace(NOBODY, user=0, clicks=(C, A)))
    assert ranking.known_by == "history"
    assert ranked(ranking) == [("d", 2.25), ("b", 2)]


def test_without_reasons_the_scores_are_the_same(factors: Scorer) -> None:
    for question in (
        replace(NOBODY, clicks=(A, C), profile=unit(0)),
        replace(NOBODY, user=0),
    ):
        silent = factors.rank(replace(question, reasons=False))
        assert ranked(silent) == ranked(factors.rank(question))
        assert all(item.reasons is None for item in silent.items)


def test_only_candidates_are_ranked_and_only_k_of_them(factors: Scorer) -> None:
    question = replace(NOBODY, clicks=(A,), candidates=(D, A, B, D))
    assert ranked(factors.rank(question)) == [("b", 2), ("d", 0.25)]
    assert ranked(factors.rank(replace(question, k=1))) == [("b", 2)]
    assert ranked(factors.rank(replace(question, candidates=()))) == []


def test_what_is_excluded_is_not_returned(factors: Scorer) -> None:
    assert ranked(factors.rank(replace(NOBODY, clicks=(A,), exclude=(B, D)))) == [("c", 0)]


def test_differences_that_are_only_rounding_are_no_reasons(tmp_path: Path) -> None:
    made = little()
    made.history_weight = np.array([[1, 3e-7], [0, 1]], np.float32)
    scorer = open_scorer(made.write(tmp_path, "b"), VERSION)
    items = scorer.rank(replace(NOBODY, clicks=(A, C))).items
    assert [why(item).history for item in items] == [(PastItem("c", 2),), (PastItem("a", 2),)]


def test_the_few_most_informative_of_many_clicks_are_named_and_the_newest_are_tried(
    tmp_path: Path,
) -> None:
    n = MOST_TRIED + 50
    made = little()
    made.item_ids = [f"i{row}" for row in range(n)]
    vectors = np.zeros((n, 2), np.float32)
    vectors[:, 0] = np.arange(n)
    made.arrays |= {
        "item_vectors": vectors,
        "history_vectors": vectors,
        "item_bias": np.zeros(n, np.float32),
        **neighbours(n),
    }
    scorer = open_scorer(made.write(tmp_path, "b"), VERSION)
    oldest_most_informative = [*range(n - 2, 0, -1)]
    (item,) = scorer.rank(replace(NOBODY, clicks=oldest_most_informative, candidates=[n - 1])).items
    assert len(why(item).history) == FEW
    assert [past.item_id for past in why(item).history] == [
        f"i{MOST_TRIED - row}" for row in range(FEW)
    ]


def test_many_reasons_are_not_found_in_passing(factors: Scorer) -> None:
    assert factors.quick(replace(NOBODY, clicks=[A, C]))
    many = replace(NOBODY, clicks=[A, C] * 128, k=100)
    assert not factors.quick(many)
    assert factors.quick(replace(many, reasons=False))


def test_weights_add_up_and_each_is_its_own_reason(weights: Scorer) -> None:
    ranking = weights.rank(replace(NOBODY, clicks=(B, C)))
    assert ranking.known_by == "history"
    assert ranked(ranking) == [("d", 3.25), ("a", 3)]
    assert why(ranking.items[0]).history == (PastItem("b", 3),)
    assert why(ranking.items[1]).history == (PastItem("c", 2), PastItem("b", 1))


def test_weights_know_a_user_by_the_rows_of_what_training_saw(weights: Scorer) -> None:
    ranking = weights.rank(replace(NOBODY, user=0))
    assert ranking.known_by == "training"
    assert ranked(ranking) == [("c", 2.5), ("d", 2.25)]
    assert why(ranking.items[1]).history == (PastItem("b", 3),)
    newer = weights.rank(replace(NOBODY, user=0, clicks=(C,)))
    assert (newer.known_by, ranked(newer)) == ("history", [("d", 2.25)])


def test_weights_rank_candidates_and_new_users(weights: Scorer) -> None:
    assert ranked(weights.rank(replace(NOBODY, clicks=(A,), candidates=(B, C)))) == [
        ("c", 2),
        ("b", 1),
    ]
    assert ranked(weights.rank(replace(NOBODY, k=2))) == [("c", 0.75), ("a", 0.5)]


def test_clicks_on_items_that_say_nothing_leave_what_is_known_of_nobody(tmp_path: Path) -> None:
    made = little_weights()
    silent = made.arrays["item_weights"].copy()
    silent[D] = 0
    made = replace(made, arrays={**made.arrays, "item_weights": silent})
    scorer = open_scorer(made.write(tmp_path, "silent"), VERSION)
    assert ranked(scorer.rank(replace(NOBODY, clicks=(D,), k=2))) == [("c", 0.75), ("a", 0.5)]


def test_many_rows_of_weights_are_all_added(tmp_path: Path) -> None:
    n = 200
    made = little_weights()
    made.item_ids = [f"i{row}" for row in range(n)]
    made.user_ids = []
    made.arrays = {
        "item_weights": np.ones((n, n), np.float32),
        "item_prior": np.zeros(n, np.float32),
        "item_bias": np.zeros(n, np.float32),
        **seen([]),
        **neighbours(n),
    }
    scorer = open_scorer(made.write(tmp_path, "b"), VERSION)
    (item,) = scorer.rank(replace(NOBODY, clicks=range(n - 1))).items
    assert (item.item_id, item.score) == (f"i{n - 1}", n - 1)
