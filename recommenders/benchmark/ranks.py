"""Where a model ranked each relevant item: what comparisons are made of.

Recall and NDCG of a user are sums over the user's relevant items, so that the ranks are enough for
both at any cut-off, for a bootstrap over items, and for the part of them that is newer than a
model's knowledge.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from recommenders import metrics
from recommenders.crossed import Cells, numbered

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from recommenders.data.split import Part
    from recommenders.evaluation import Evaluation

RANKS = "ranks.parquet"


@dataclass(frozen=True, kw_only=True, slots=True)
class Ranks:
    """The relevant items of a part's users, sorted by user and item.

    Attributes:
        users: The user's id, (pairs,).
        items: The item's id, (pairs,).
        ranks: The rank from 1; 0 where the item is not in the list, (pairs,).
        newer: Whether the item is newer than what the profiles' writer knows, (pairs,).
        clicks: Number of known items of the user, (pairs,).
    """

    users: NDArray[np.str_]
    items: NDArray[np.str_]
    ranks: NDArray[np.int64]
    newer: NDArray[np.bool_]
    clicks: NDArray[np.int64]

    def only(self, chosen: NDArray[np.bool_]) -> Ranks:
        """Returns some of the pairs."""
        return Ranks(
            users=self.users[chosen],
            items=self.items[chosen],
            ranks=self.ranks[chosen],
            newer=self.newer[chosen],
            clicks=self.clicks[chosen],
        )


def table_of(
    found: Evaluation,
    part: Part,
    *,
    scenario: str,
    name: str,
    user_ids: Sequence[str],
    item_ids: Sequence[str],
    newer: NDArray[np.bool_] | None = None,
) -> pa.Table:
    """Returns the rank of every relevant item of a part.

    Args:
        found: The evaluation of the part.
        part: The part.
        scenario: The scenario's name.
        name: `validation` or `test`.
        user_ids: User row -> id.
        item_ids: Item row -> id.
        newer: (n_items,), whether an item is newer than what the profiles' writer knows.
    """
    users, items, ranks = ranks_of(found, part)
    clicks = np.diff(part.known.indptr)[users]
    late = np.zeros(len(items), np.bool_) if newer is None else newer[items]
    return pa.table(
        {
            "scenario": pa.array([scenario] * len(users)).dictionary_encode(),
            "part": pa.array([name] * len(users)).dictionary_encode(),
            "user_id": _ids(users, user_ids),
            "item_id": _ids(items, item_ids),
            "rank": ranks.astype(np.int16),
            "newer": late,
            "clicks": clicks.astype(np.int32),
        }
    )


def ranks_of(
    found: Evaluation, part: Part
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Returns the user row, the item row and the rank (0: not in the list) of each relevant pair."""
    relevant = part.relevant[found.users].sorted_indices()
    n_items = relevant.shape[1]
    rows = np.repeat(np.arange(len(found.users)), np.diff(relevant.indptr))
    wanted = rows * n_items + relevant.indices
    ranks = np.zeros(len(wanted), np.int64)
    hit_rows, hit_columns = np.nonzero(metrics.hits(found.ranked, relevant))
    keys = hit_rows * n_items + found.ranked[hit_rows, hit_columns]
    ranks[np.searchsorted(wanted, keys)] = hit_columns + 1
    return found.users[rows], relevant.indices.astype(np.int64), ranks


def read_ranks(path: Path, scenario: str, part: str) -> Ranks:
    """Reads the ranks of a part from a run's `ranks.parquet`."""
    filters = (pc.field("scenario") == scenario) & (pc.field("part") == part)
    table = pq.read_table(path, filters=filters, partitioning=None)
    names = "user_id", "item_id"
    users, items = (np.asarray(table[name].to_pylist(), np.str_) for name in names)
    order = np.lexsort((items, users))
    ranks, newer, clicks = (np.asarray(table[name])[order] for name in ("rank", "newer", "clicks"))
    return Ranks(
        users=users[order],
        items=items[order],
        ranks=ranks.astype(np.int64),
        newer=newer.astype(np.bool_),
        clicks=clicks.astype(np.int64),
    )


def contributions(
    users: NDArray[np.int64], ranks: NDArray[np.int64], metric: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns what each pair adds to its user's metric, and its share of the user's ideal.

    Args:
        users: Numbers of the users, (pairs,).
        ranks: As in `Ranks`.
        metric: `ndcg` or `recall` with a cut-off.

    Raises:
        ValueError: The metric is no sum over relevant items.
    """
    name, k = metric.partition("@")[0], metrics.cutoff_of(metric)
    if name not in {"ndcg", "recall"}:
        raise ValueError(f"{metric} is no sum over relevant items; take ndcg or recall")
    wanted = np.bincount(users)[users]
    found = (ranks > 0) & (ranks <= k)
    if name == "recall":
        return found / wanted, 1 / wanted
    discounts = 1 / np.log2(np.arange(2, k + 2))
    ideal = np.cumsum(discounts)[np.minimum(wanted, k) - 1]
    return np.where(found, 1 / np.log2(np.maximum(ranks, 1) + 1), 0) / ideal, 1 / wanted


def cells(
    new: Mapping[int, Ranks], old: Mapping[int, Ranks], metric: str, *, newer: bool = False
) -> Cells | None:
    """Returns the differences of two models in the seeds, and on the pairs, that both have.

    Args:
        new: Seed -> ranks.
        old: Likewise.
        metric: As for `contributions`.
        newer: Whether only items newer than the writer's knowledge count.

    Returns:
        The cells; None if there are no such pairs.
    """
    users: list[NDArray[np.str_]] = []
    items: list[NDArray[np.str_]] = []
    seeds, shares, differences = [], [], []
    for number, seed in enumerate(sorted(new.keys() & old.keys())):
        first, second = _common(new[seed], old[seed])
        if newer:
            first, second = first.only(first.newer), second.only(first.newer)
        people = numbered(first.users)
        gain, share = contributions(people, first.ranks, metric)
        differences.append(gain - contributions(people, second.ranks, metric)[0])
        shares.append(share)
        users.append(first.users)
        items.append(first.items)
        seeds.append(np.full(len(people), number, np.int64))
    if not sum(map(len, users)):
        return None
    return Cells(
        users=numbered(np.concatenate(users)),
        items=numbered(np.concatenate(items)),
        seeds=numbered(np.concatenate(seeds)),
        shares=np.concatenate(shares),
        differences=np.concatenate(differences),
    )


def _common(first: Ranks, second: Ranks) -> tuple[Ranks, Ranks]:
    """Returns the pairs that both have, in the same order."""
    if np.array_equal(first.users, second.users) and np.array_equal(first.items, second.items):
        return first, second
    mine, theirs = (np.char.add(np.char.add(one.users, "\n"), one.items) for one in (first, second))
    _, here, there = np.intersect1d(mine, theirs, assume_unique=True, return_indices=True)
    chosen = np.zeros(len(first.users), np.bool_), np.zeros(len(second.users), np.bool_)
    chosen[0][here] = chosen[1][there] = True
    return first.only(chosen[0]), second.only(chosen[1])


def _ids(rows: NDArray[np.int64], ids: Sequence[str]) -> pa.Array[Any]:
    return pa.array([ids[row] for row in rows.tolist()], pa.string()).dictionary_encode()
