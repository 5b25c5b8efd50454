"""Full ranking: every candidate is scored for every user, and known items are left out.

Sampled candidates rank models differently from full ranking (Krichene and Rendle, KDD 2020), so
they are not offered. Users are processed in blocks, so that memory does not grow with their number,
and every metric is kept for each user.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from recommenders import metrics
from recommenders.ranking import top_k

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from scipy import sparse

    from recommenders.data.split import Part

CUTOFFS = (20, 40)


class EvaluationError(Exception):
    """A part cannot be ranked, or scores are invalid; the message says where."""


class Scorer(Protocol):
    """What is evaluated: a model, or anything else that scores."""

    def scores(self, users: NDArray[np.int64], known: sparse.csr_array) -> NDArray[np.float32]:
        """Returns (len(users), n_items), finite; higher is better."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """Ranked lists and metrics of each user.

    Attributes:
        users: Rows of the evaluated users, ascending.
        ranked: (n_users, highest cut-off), item rows, best first; -1 where the list is shorter.
        values: Metric at cut-off, such as `recall@20`, -> one value a user.
        cutoffs: The cut-offs in `values`.
    """

    users: NDArray[np.int64]
    ranked: NDArray[np.int32]
    values: Mapping[str, NDArray[np.float64]]
    cutoffs: tuple[int, ...]

    def means(self) -> dict[str, float]:
        """Returns the mean over users of each metric."""
        return {name: float(values.mean()) for name, values in self.values.items()}


def evaluate(
    scorer: Scorer,
    part: Part,
    *,
    cutoffs: Sequence[int] = CUTOFFS,
    seed: int = 0,
    block_mib: int = 32,
) -> Evaluation:
    """Ranks all candidates for each user of a part.

    Args:
        scorer: The model to evaluate.
        part: Users, their known items, and the relevant items.
        cutoffs: Lengths of the lists.
        seed: Breaks ties between equal scores; use the same for all models that are compared.
        block_mib: Memory of the scores of one block of users. The peak is about three times
            this, plus what the scorer needs.

    Raises:
        EvaluationError: The part has no users, or a relevant item that cannot be found; or scores
            have the wrong shape or are not finite.
    """
    users, n_items = part.users, part.known.shape[1]
    candidates = np.arange(n_items) if part.candidates is None else part.candidates
    if not len(users):
        raise EvaluationError("no user has a relevant item in this part; there is nothing to rank")
    relevant = part.relevant[users]
    _check_part(part, relevant, candidates)
    ranked = np.empty((len(users), max(cutoffs)), np.int32)
    step = max(1, block_mib * 2**20 // (4 * n_items))
    for start in range(0, len(users), step):
        block = users[start : start + step]
        known = part.known[block]
        scores = _candidate_scores(scorer.scores(block, known), known, part.candidates, block)
        ranked[start : start + step] = top_k(
            scores, max(cutoffs), users=block, items=candidates, seed=seed
        )
    values = metrics.per_user(ranked, relevant, cutoffs)
    return Evaluation(users=users, ranked=ranked, values=values, cutoffs=tuple(cutoffs))


def _candidate_scores(
    scores: NDArray[np.float32],
    known: sparse.csr_array,
    candidates: NDArray[np.int64] | None,
    users: NDArray[np.int64],
) -> NDArray[np.float32]:
    """Returns the scores of the candidates, minus infinity for known items."""
    if scores.shape != known.shape:
        raise EvaluationError(f"scores are of shape {scores.shape}, not {known.shape}")
    if candidates is None:
        scores = np.array(
            scores, np.float32
        )  # a copy, since the scorer's array may be a view of a model
    else:
        scores, known = scores[:, candidates].astype(np.float32, copy=False), known[:, candidates]
    # Minimum and maximum find the same as a mask of all values, in a fifth of the time.
    lowest, highest = scores.min(axis=1), scores.max(axis=1)
    wrong = np.flatnonzero(~(np.isfinite(lowest) & np.isfinite(highest)))
    if wrong.size:
        raise EvaluationError(f"scores of user row {users[wrong[0]]} are not all finite numbers")
    scores[np.repeat(np.arange(len(users)), np.diff(known.indptr)), known.indices] = -np.inf
    return scores


def _check_part(part: Part, relevant: sparse.csr_array, candidates: NDArray[np.int64]) -> None:
    if part.candidates is not None:
        lost = np.flatnonzero(~np.isin(relevant.indices, candidates))
        if lost.size:
            item = relevant.indices[lost[0]]
            raise EvaluationError(f"item row {item} is relevant, but is not among the candidates")
    overlap = relevant.multiply(part.known[part.users]).tocoo()
    if overlap.nnz:
        user, item = part.users[overlap.coords[0][0]], overlap.coords[1][0]
        raise EvaluationError(f"item row {item} is known of user row {user}, and relevant as well")
