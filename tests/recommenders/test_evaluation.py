from __future__ import annotations

from math import log2
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy import sparse

from recommenders.evaluation import EvaluationError, evaluate
from tests.recommenders.evaluated import Table, part

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Views:
    """Gives away the very scores it holds."""

    def __init__(self, values: NDArray[np.float32]) -> None:
        self.values = values

    def scores(self, users: NDArray[np.int64], known: sparse.csr_array) -> NDArray[np.float32]:
        return self.values


SCORES = np.array([[5, 4, 3, 2, 1], [1, 2, 3, 4, 5], [9, 9, 9, 9, 9]], np.float32)


def test_known_items_and_users_with_nothing_to_find_are_left_out() -> None:
    evaluated = evaluate(
        Table(SCORES), part([[0], [4, 3], []], [[2, 4], [2], []], 5), cutoffs=[1, 2]
    )
    assert evaluated.users.tolist() == [0, 1]
    assert evaluated.ranked.tolist() == [[1, 2], [2, 1]]
    assert evaluated.values["recall@2"].tolist() == [0.5, 1.0]
    assert evaluated.values["mrr@2"].tolist() == [0.5, 1.0]
    assert evaluated.values["hit_rate@1"].tolist() == [0.0, 1.0]
    ideal = 1 + 1 / log2(3)
    assert evaluated.values["ndcg@2"] == pytest.approx([1 / log2(3) / ideal, 1])
    assert evaluated.means()["recall@2"] == 0.75
    assert evaluated.cutoffs == (1, 2)


def test_only_candidates_are_ranked() -> None:
    given = part([[3], [], []], [[4], [1], []], 5, candidates=[1, 3, 4])
    evaluated = evaluate(Table(SCORES), given, cutoffs=[3])
    assert evaluated.ranked.tolist() == [[1, 4, -1], [4, 3, 1]]
    assert evaluated.values["mrr@3"] == pytest.approx([1 / 2, 1 / 3])


def test_results_do_not_depend_on_blocks() -> None:
    rng = np.random.default_rng(0)
    n_users, n_items = 10, 70_000  # 1 MiB holds the scores of three users
    scores = rng.integers(0, 4, (n_users, n_items)).astype(np.float32)
    relevant = [[user, n_items - 1 - user] for user in range(n_users)]
    given = part([[100 + user] for user in range(n_users)], relevant, n_items)
    whole, blocks = (evaluate(Table(scores), given, block_mib=mib) for mib in (64, 1))
    np.testing.assert_array_equal(whole.ranked, blocks.ranked)
    another = evaluate(Table(scores), given, seed=1)
    assert (another.ranked != whole.ranked).any()


def test_the_scorer_keeps_its_scores_though_known_items_are_masked() -> None:
    values = SCORES.copy()
    values.flags.writeable = False
    evaluate(Views(values), part([[0], [0], [0]], [[1], [1], [1]], 5), cutoffs=[1])
    evaluate(Views(values), part([[0], [0], [0]], [[1], [1], [1]], 5, [0, 1, 2]), cutoffs=[1])
    np.testing.assert_array_equal(values, SCORES)


def test_a_scorer_that_says_nothing_gains_nothing_from_the_order_of_rows() -> None:
    n_users, n_items = 500, 100
    given = part([[]] * n_users, [[0]] * n_users, n_items)  # the first row is what all want
    nothing = Table(np.zeros((n_users, n_items), np.float32))
    evaluated = evaluate(nothing, given, cutoffs=[20])
    assert evaluated.means()["recall@20"] == pytest.approx(0.2, abs=5 * 0.018)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_scores_that_are_no_numbers_are_refused(wrong: float) -> None:
    scores = SCORES.copy()
    scores[1, 2] = wrong
    with pytest.raises(EvaluationError, match="user row 1 are not all finite"):
        evaluate(Table(scores), part([[], [], []], [[1], [1], [1]], 5))


def test_scores_of_another_shape_are_refused() -> None:
    with pytest.raises(EvaluationError, match=r"of shape \(3, 5\), not \(2, 5\)"):
        evaluate(Views(SCORES), part([[], [], []], [[1], [1], []], 5))


@pytest.mark.parametrize(
    ("known", "relevant", "candidates", "message"),
    [
        ([[], [3]], [[], [2, 3]], None, "item row 3 is known of user row 1, and relevant"),
        ([[], []], [[2], [4]], [0, 2], "item row 4 is relevant, but is not among the candidates"),
        ([[1], [2]], [[], []], None, "no user has a relevant item"),
    ],
)
def test_parts_in_which_nothing_could_be_found_are_refused(
    known: list[list[int]], relevant: list[list[int]], candidates: list[int] | None, message: str
) -> None:
    with pytest.raises(EvaluationError, match=message):
        evaluate(Table(SCORES), part(known, relevant, 5, candidates))


def test_relevance_may_be_stored_unsorted() -> None:
    given = part([[], [], []], [[2, 4], [], []], 5)
    backwards = sparse.csr_array(
        (np.ones(2, np.float32), np.array([4, 2]), given.relevant.indptr), shape=(3, 5)
    )
    object.__setattr__(given, "relevant", backwards)
    evaluated = evaluate(Table(SCORES), given, cutoffs=[3])
    assert evaluated.values["recall@3"].tolist() == [0.5]
