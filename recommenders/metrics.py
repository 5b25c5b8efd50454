"""Ranking metrics: pure functions of ranked lists and relevant items.

Relevance is binary. `hits` looks up each ranked item once, and every metric is a sum over its
result. Metrics are float64 with one value a user, since means hide who gains. The definitions are
those of trec_eval and of RecBole.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray
    from scipy import sparse

    Metric = Callable[[NDArray[np.bool_], NDArray[np.int64], int], NDArray[np.float64]]


def recall(hits: NDArray[np.bool_], sizes: NDArray[np.int64], k: int) -> NDArray[np.float64]:
    """Relevant items among the first k, divided by all relevant items of the user.

    The divisor is not min(k, all): a user with more than k relevant items cannot reach 1.

    Args:
        hits: (n_users, depth), whether the item at each rank is relevant.
        sizes: (n_users,), number of relevant items of each user, at least 1.
        k: The cut-off, from 1 to depth.

    Returns:
        (n_users,)
    """
    found: NDArray[np.int64] = hits[:, :k].sum(axis=1)
    return found / sizes


def ndcg(hits: NDArray[np.bool_], sizes: NDArray[np.int64], k: int) -> NDArray[np.float64]:
    """Gain 1 / log2(rank + 1) of each hit among the first k, over that of the best list possible.

    Ranks count from 1. The best list has min(k, all relevant items) hits, at the top (Järvelin and
    Kekäläinen 2002, with the logarithm's offset of Burges et al. 2005). Arguments as for `recall`.
    """
    discounts = 1 / np.log2(np.arange(2, k + 2))
    ideal: NDArray[np.float64] = np.cumsum(discounts)[np.minimum(sizes, k) - 1]
    gains: NDArray[np.float64] = hits[:, :k] @ discounts
    return gains / ideal


def mrr(hits: NDArray[np.bool_], sizes: NDArray[np.int64], k: int) -> NDArray[np.float64]:
    """1 / rank of the first hit among the first k, 0 without one. Arguments as for `recall`."""
    del sizes  # the same for one relevant item and for many
    ranks = 1.0 / np.arange(1, k + 1)
    best: NDArray[np.float64] = (hits[:, :k] * ranks).max(axis=1)
    return best


def hit_rate(hits: NDArray[np.bool_], sizes: NDArray[np.int64], k: int) -> NDArray[np.float64]:
    """1 if any of the first k is relevant, else 0. Arguments as for `recall`."""
    del sizes  # the same for one relevant item and for many
    found: NDArray[np.int64] = hits[:, :k].sum(axis=1)
    return np.minimum(found, 1.0)


METRICS: Mapping[str, Metric] = {"recall": recall, "ndcg": ndcg, "mrr": mrr, "hit_rate": hit_rate}


def cutoff_of(name: str) -> int:
    """Returns the cut-off in a metric's name, such as 20 for `ndcg@20`.

    Raises:
        ValueError: There is no metric of that name.
    """
    metric, _, cutoff = name.partition("@")
    if metric not in METRICS or not re.fullmatch("[1-9][0-9]*", cutoff):
        raise ValueError(
            f"there is no metric {name!r}; there are {', '.join(METRICS)}, each with the length "
            "of the list, as in ndcg@20"
        )
    return int(cutoff)


def hits(ranked: NDArray[np.integer], relevant: sparse.csr_array) -> NDArray[np.bool_]:
    """Returns whether each ranked item is relevant.

    Args:
        ranked: (n_users, depth), item rows, best first; negative where the list is shorter.
        relevant: CSR, (n_users, n_items), the same users in the same order.
    """
    n_users, n_items = relevant.shape
    users = np.arange(n_users, dtype=np.int64)
    rows = np.repeat(users, np.diff(relevant.indptr))
    wanted = np.sort(rows * n_items + relevant.indices)
    asked = users[:, None] * n_items + ranked
    if not len(wanted):
        return np.zeros(ranked.shape, np.bool_)
    positions = np.minimum(np.searchsorted(wanted, asked), len(wanted) - 1)
    found: NDArray[np.bool_] = (wanted[positions] == asked) & (ranked >= 0)
    return found


def per_user(
    ranked: NDArray[np.integer], relevant: sparse.csr_array, cutoffs: Sequence[int]
) -> dict[str, NDArray[np.float64]]:
    """Returns every metric at every cut-off.

    Args:
        ranked: (n_users, depth), item rows, best first, none twice; negative where the list is
            shorter. depth is at least the highest cut-off.
        relevant: CSR, (n_users, n_items), the same users in the same order.
        cutoffs: Lengths of the lists, each at least 1.

    Returns:
        Name, such as `recall@20`, -> one value a user.

    Raises:
        ValueError: Shapes or cut-offs do not fit, or a user has no relevant item.
    """
    if ranked.ndim != 2 or len(ranked) != relevant.shape[0]:
        raise ValueError(f"ranked is of shape {ranked.shape}, for {relevant.shape[0]} users")
    if not cutoffs or min(cutoffs) < 1 or max(cutoffs) > ranked.shape[1]:
        raise ValueError(f"cut-offs {list(cutoffs)} must be from 1 to {ranked.shape[1]}")
    sizes = np.diff(relevant.indptr).astype(np.int64)
    if not sizes.all():
        raise ValueError(f"row {np.flatnonzero(sizes == 0)[0]} has no relevant item; leave it out")
    found = hits(ranked, relevant)
    return {
        f"{name}@{k}": metric(found, sizes, k) for name, metric in METRICS.items() for k in cutoffs
    }


def exposure(ranked: NDArray[np.integer], candidates: NDArray[np.int64]) -> NDArray[np.int64]:
    """Returns in how many lists each candidate is; candidates ascending."""
    positions = np.searchsorted(candidates, ranked[ranked >= 0])
    return np.bincount(positions, minlength=len(candidates))


def coverage(exposures: NDArray[np.int64]) -> float:
    """The share of candidates that are in at least one list."""
    return float(np.count_nonzero(exposures) / len(exposures))


def gini(exposures: NDArray[np.int64]) -> float:
    """How unevenly the lists spread over candidates: 0 for evenly, 1 - 1/n for one item only.

    sum over i of (2 i - n - 1) x_i / (n sum x), with x ascending and i from 1.
    """
    n = len(exposures)
    ranks = 2 * np.arange(1, n + 1) - n - 1
    return float((ranks * np.sort(exposures)).sum() / (n * exposures.sum()))
