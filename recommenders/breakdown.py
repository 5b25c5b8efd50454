"""Results by the length of a user's history, and by the popularity of an item.

A mean over users also counts those with hundreds of interactions, who need no profile. Bins are
given by their lower bounds; empty bins are left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from recommenders import metrics
from recommenders.evaluation import Evaluation

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from recommenders.data.split import Part


def doubling(highest: int) -> NDArray[np.int64]:
    """Returns bins 0, 1, 2-3, 4-7, 8-15 and so on, the same for every data set.

    The last one is empty, so that the bin of the highest count has an upper bound in its label.
    """
    return np.concatenate([[0], 2 ** np.arange(int(highest).bit_length() + 1)]).astype(np.int64)


def quantiles(counts: NDArray[np.integer], parts: int) -> NDArray[np.int64]:
    """Returns bins with about the same number of counts each; equal counts are in one bin."""
    edges = np.quantile(counts, np.arange(1, parts) / parts, method="higher")
    return np.unique(np.concatenate([[0], edges])).astype(np.int64)


def by_history(
    evaluation: Evaluation, part: Part, bins: NDArray[np.int64] | None = None
) -> dict[str, Evaluation]:
    """Groups users by the number of their known items.

    Args:
        evaluation: Of this part.
        part: The evaluated part.
        bins: Lower bounds, ascending from 0; by default `doubling`.

    Returns:
        Label of the bin, such as `4-7`, -> the evaluation of its users.
    """
    lengths = np.diff(part.known.indptr)[evaluation.users]
    bins = doubling(lengths.max()) if bins is None else bins
    return {
        label: _of_users(evaluation, chosen) for label, chosen in _binned(lengths, bins).items()
    }


def by_popularity(
    evaluation: Evaluation,
    part: Part,
    popularity: NDArray[np.integer],
    bins: NDArray[np.int64] | None = None,
) -> dict[str, Evaluation]:
    """Groups relevant items by the number of their training interactions.

    The lists stay as they are. For each bin only its relevant items count, and users without any
    are left out: `recall` is the share of relevant items of that popularity that are found, and the
    ideal list of `ndcg` has only those.

    Args:
        evaluation: Of this part.
        part: The evaluated part.
        popularity: (n_items,), training interactions of each item.
        bins: Lower bounds, ascending from 0; by default `doubling`.

    Returns:
        Label of the bin, such as `4-7`, -> the evaluation of the items in it.
    """
    relevant = part.relevant[evaluation.users]
    bins = doubling(int(popularity.max())) if bins is None else bins
    result = {}
    for label, chosen in _binned(popularity, bins).items():
        kept = relevant.multiply(chosen[None, :].astype(np.float32)).tocsr()
        kept.eliminate_zeros()
        rows = np.flatnonzero(np.diff(kept.indptr))
        if rows.size:
            ranked = evaluation.ranked[rows]
            result[label] = Evaluation(
                users=evaluation.users[rows],
                ranked=ranked,
                values=metrics.per_user(ranked, kept[rows], evaluation.cutoffs),
                cutoffs=evaluation.cutoffs,
            )
    return result


def _of_users(evaluation: Evaluation, chosen: NDArray[np.bool_]) -> Evaluation:
    return Evaluation(
        users=evaluation.users[chosen],
        ranked=evaluation.ranked[chosen],
        values={name: values[chosen] for name, values in evaluation.values.items()},
        cutoffs=evaluation.cutoffs,
    )


def _binned(counts: NDArray[np.integer], bins: NDArray[np.int64]) -> dict[str, NDArray[np.bool_]]:
    """Returns label -> mask of the counts in the bin, for bins that are not empty."""
    positions = np.searchsorted(bins, counts, side="right") - 1
    labels = [
        f"{low}" if high == low else f"{low}-{high}"
        for low, high in zip(bins[:-1].tolist(), (bins[1:] - 1).tolist(), strict=True)
    ]
    labels.append(f"{bins[-1]} and more")
    masks = {label: positions == place for place, label in enumerate(labels)}
    return {label: mask for label, mask in masks.items() if mask.any()}
