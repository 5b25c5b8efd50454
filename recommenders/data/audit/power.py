"""What a split can show: how many users and items it asks about, and the smallest difference it would find.

A table whose split asks about eight users says nothing, whatever stands in it. The smallest
difference between two models that a two-sided test at level 0.05 finds with a probability (power)
of 0.8 is the minimum detectable effect (Bloom, Minimum detectable effects, Evaluation Review 19,
1995):

    (z(0.975) + z(0.8)) x standard error = 2.80 x standard error.

The standard error is that of the mean paired difference of two models that need no training:
popularity, and the mean of the texts of what a user chose. (New items have no popularity, and a
random order stands in.) Users and items are both sources of chance, since users share items. So
the variance is clustered by both (Cameron, Gelbach and Miller, Robust inference with multiway
clustering, Journal of Business & Economic Statistics 29, 2011): V = V_users + V_items - V_pairs.

With d_ui the difference that item i adds to NDCG@20 of user u, m users, M the mean of their sums,
r_u the number of relevant items of u, and e_ui = d_ui - M / r_u: V_users = sum_u (sum_i e_ui)^2 /
m^2, V_items = sum_i (sum_u e_ui)^2 / m^2, V_pairs = sum_ui e_ui^2 / m^2. The first and the third
fall with the number of users, their difference V_items - V_pairs does not.

Both are given: by users alone, as a paired t-test over users has it, which holds for these very
items; and by users and items, which holds for other items like them. Two models that are more alike
than these two differ less and are told apart sooner, so both are upper bounds for them. Chance in
training and in the division of the data comes on top.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from recommenders.data.audit.resemblance import word_vectors
from recommenders.metrics import hits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from recommenders.data.split import Part, Split

LEAST_USERS, LEAST_ITEMS = 50, 20
"""Fewest users and relevant items of a part; below that a split is not sound."""

FACTOR = 1.959964 + 0.841621
"""z(0.975) + z(0.8)."""

_K = 20
_SAMPLE = 1_000  # users of a part whose lists are made
_BLOCK = 128


@dataclass(frozen=True, kw_only=True, slots=True)
class PartPower:
    """What a part can show.

    Attributes:
        scenario: Such as `warm`.
        part: `validation` or `test`.
        users: Number of users who are evaluated.
        items: Number of distinct relevant items.
        ranked: Number of items that are ranked.
        error: Standard error of the mean difference in NDCG@20 of the two untrained models, by users
            and items.
        error_by_users: The same by users alone.
    """

    scenario: str
    part: str
    users: int
    items: int
    ranked: int
    error: float
    error_by_users: float

    @property
    def detectable(self) -> float:
        """The smallest difference in NDCG@20 that is found with a power of 0.8, for items like these."""
        return FACTOR * self.error

    @property
    def detectable_by_users(self) -> float:
        """The same for these very items."""
        return FACTOR * self.error_by_users

    def reasons(self) -> list[str]:
        """Returns why the part is too small for any statement."""
        where = f"{self.scenario}/{self.part}"
        return [
            f"{where} asks about {count:,} {what}; below {least} nothing can be said"
            for count, what, least in (
                (self.users, "users", LEAST_USERS),
                (self.items, "items", LEAST_ITEMS),
            )
            if count < least
        ]


def find_power(split: Split, texts: Sequence[str], *, seed: int = 0) -> tuple[PartPower, ...]:
    """Estimates for each part of a split what it can show.

    Args:
        split: The split.
        texts: The text of each item of the dataset; empty for none.
        seed: Seed of the order of items with equal scores.
    """
    vectors = word_vectors(texts)
    popularity = np.bincount(split.train.indices, minlength=split.train.shape[1])
    lot = np.random.default_rng(seed).random((2, len(popularity))).astype(np.float32)
    found = []
    for scenario, name, part in split.parts():
        error, by_users = _errors(part, vectors, popularity + lot[0] / 2, lot[1])
        found.append(
            PartPower(
                scenario=scenario,
                part=name,
                users=len(part.users),
                items=len(np.unique(part.relevant.indices)),
                ranked=part.relevant.shape[1] if part.candidates is None else len(part.candidates),
                error=error,
                error_by_users=by_users,
            )
        )
    return tuple(found)


def _errors(
    part: Part,
    vectors: sparse.csr_array,
    popularity: NDArray[np.float32],
    lot: NDArray[np.float32],
) -> tuple[float, float]:
    sample = part.for_few(_SAMPLE)
    users = sample.users
    if len(users) < 2:
        return float("inf"), float("inf")
    items = np.arange(vectors.shape[0]) if part.candidates is None else part.candidates
    ranked, relevant = sample.known[:, items], sample.relevant[:, items].tocsr()
    tastes, texts = sparse.csr_array(sample.known[users] @ vectors), vectors[items].T.tocsc()
    gains = []
    for start in range(0, len(users), _BLOCK):
        block = users[start : start + _BLOCK]
        known = ranked[block].toarray() > 0
        similar = (tastes[start : start + _BLOCK] @ texts).toarray()
        popular = np.broadcast_to(popularity[items], known.shape)
        # Equal scores, mostly of 0, in an order by lot.
        similar = similar.astype(np.float32) + 1e-6 * lot[items]
        gains.append(
            contributions(similar, known, relevant[block])
            - contributions(popular, known, relevant[block])
        )
    return standard_errors(sparse.vstack(gains).tocsr(), sample.relevant[users][:, items], part)


def contributions(
    scores: NDArray[np.float32], known: NDArray[np.bool_], relevant: sparse.csr_array
) -> sparse.csr_array:
    """Returns what each relevant item adds to its user's NDCG@20; the rows add up to NDCG@20.

    Args:
        scores: Users x items.
        known: Mask of the items that are not ranked, of the same shape.
        relevant: CSR, of the same shape; each row has at least one item.
    """
    masked = np.where(known, -np.inf, scores)
    k = min(_K, masked.shape[1])
    top = np.argpartition(-masked, k - 1, axis=1)[:, :k]
    order = np.argsort(-np.take_along_axis(masked, top, axis=1), axis=1, kind="stable")
    top = np.take_along_axis(top, order, axis=1)
    found = hits(top, relevant) & np.isfinite(np.take_along_axis(masked, top, axis=1))
    discounts = 1 / np.log2(np.arange(2, k + 2))
    ideal = np.cumsum(discounts)[np.minimum(np.diff(relevant.indptr), k) - 1]
    rows, ranks = np.nonzero(found)
    values = discounts[ranks] / ideal[rows]
    return sparse.csr_array((values, (rows, top[rows, ranks])), shape=relevant.shape)


def standard_errors(
    gains: sparse.csr_array, relevant: sparse.csr_array, part: Part
) -> tuple[float, float]:
    """Returns the standard errors of the mean of the rows' sums, by users and items, and by users.

    Args:
        gains: What each pair adds to its user's difference, a sample of users x items.
        relevant: The relevant pairs of the same users.
        part: The part that the users were drawn from.
    """
    size = gains.shape[0]
    mean = float(gains.sum()) / size
    shares = relevant.astype(np.float64)
    shares.data = mean / np.repeat(np.diff(relevant.indptr), np.diff(relevant.indptr))
    rest = sparse.csr_array(gains - shares)
    by_user = float((np.asarray(rest.sum(axis=1)) ** 2).sum()) / size**2
    by_item = float((np.asarray(rest.sum(axis=0)) ** 2).sum()) / size**2
    by_pair = float((rest.data**2).sum()) / size**2
    by_user *= size / len(part.users)
    return float(np.sqrt(by_user + max(by_item - by_pair, 0.0))), float(np.sqrt(by_user))
