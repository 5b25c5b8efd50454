"""From a partition to its rows, with little work in Python for each.

Rows with like beginnings come one after the other: a model server that keeps what it has read of
a prompt reads it once.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from services.backfill.grouping.texts import HALF, digest_matrix
from services.backfill.rows import ProfileRow
from services.common.tabular.rules import listed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from numpy.typing import NDArray

    from reclm_client import Kind
    from services.backfill.grouping.partitions import Strings
    from services.backfill.grouping.texts import Texts

_INTERACTION_COLUMNS: Mapping[str, pa.DataType] = {
    "user": pa.string(),
    "item": pa.string(),
    "time": pa.int64(),
}
INTERACTION_SCHEMA = pa.schema(_INTERACTION_COLUMNS)

HALVES = (slice(None, HALF), slice(HALF, None))

PREFIX = 4
"""How many entries of a history decide which others it is put next to."""

_ROWS_AT_ONCE = 4096
_COMPACT_ROWS = 2_000_000
"""A partition that has more interactions is cut to the newest of each user on the way."""


def row_digest(kind: Kind, said: bytes | memoryview, texts: bytes | memoryview) -> bytes:
    """Returns what stands for a row: 8 bytes over what it says, 8 over the texts behind that.

    Args:
        kind: Of the profile.
        said: The first halves of the entries' digests.
        texts: The second halves.
    """
    person = kind.encode()
    return (
        hashlib.blake2b(said, digest_size=HALF, person=person).digest()
        + hashlib.blake2b(texts, digest_size=HALF, person=person).digest()
    )


def interaction_rows(
    batches: Iterable[pa.RecordBatch], *, history: int, texts: Texts
) -> Iterator[ProfileRow]:
    """Yields a row for each user.

    Args:
        batches: Interactions, those of one moment in the order that counts.
        history: How many of a user's newest interactions to keep.
        texts: Where the items' digests are.
    """
    table = _gathered(batches, history)
    if not table.num_rows:
        return
    user_codes, users = _encoded(table, "user")
    entries, items = _encoded(table, "item")
    times = np.asarray(table["time"])
    del table
    pa.default_memory_pool().release_unused()
    order = _newest(user_codes, times, history)
    counts = np.bincount(user_codes[order])
    entries = entries[order]
    del user_codes, times, order
    shown = _likes_together(entries, counts, users, items)
    entries, counts = _rearranged(entries, counts, shown), counts[shown]
    users, digests = users.take(shown), texts.digests(items)
    names = np.array(listed(items), dtype=object)
    del items, shown
    ends = np.cumsum(counts)
    pa.default_memory_pool().release_unused()
    for first in range(0, len(users), _ROWS_AT_ONCE):
        some = slice(first, first + _ROWS_AT_ONCE)
        begin = int(ends[first] - counts[first])
        part = entries[begin : ends[some][-1]]
        flat = names[part].tolist()
        said, behind = (digests[part, half].tobytes() for half in HALVES)
        start = 0
        ids = listed(users.slice(first, _ROWS_AT_ONCE))
        for id_, end in zip(ids, (ends[some] - begin).tolist(), strict=True):
            at = slice(start * HALF, end * HALF)
            digest = row_digest("user", said[at], behind[at])
            yield ProfileRow(id_, tuple(flat[start:end]), digest)
            start = end


def item_rows(batches: Iterable[pa.RecordBatch]) -> Iterator[ProfileRow]:
    """Yields a row for each item, in order of the ids; of two with one id the last counts."""
    held = list(batches)
    if not held:
        return
    table = pa.Table.from_batches(held).combine_chunks()
    ids = table["id"].combine_chunks().dictionary_encode()
    last = np.zeros(len(ids.dictionary), dtype=np.int64)
    last[np.asarray(ids.indices)] = np.arange(len(ids))
    digests = digest_matrix(table["digest"].combine_chunks())
    order = np.asarray(pc.array_sort_indices(ids.dictionary))
    names = listed(ids.dictionary.take(order))
    for name, place in zip(names, last[order].tolist(), strict=True):
        said, behind = (digests[place, half].tobytes() for half in HALVES)
        yield ProfileRow(name, (), row_digest("item", said, behind))


def _gathered(batches: Iterable[pa.RecordBatch], history: int) -> pa.Table:
    """Returns the interactions as one table, without most of those that are too old."""
    held: list[pa.RecordBatch] = []
    rows, limit = 0, _COMPACT_ROWS
    for batch in batches:
        held.append(batch)
        rows += batch.num_rows
        if rows > limit:
            table = pa.Table.from_batches(held)
            codes, _ = _encoded(table, "user")
            newest = _newest(codes, np.asarray(table["time"]), history)
            table = table.take(np.sort(newest)).combine_chunks()
            held, rows = table.to_batches(), table.num_rows
            limit = max(_COMPACT_ROWS, 2 * rows)
    return pa.Table.from_batches(held, INTERACTION_SCHEMA)


def _encoded(table: pa.Table, column: str) -> tuple[NDArray[np.int32], Strings]:
    """Returns a column as numbers, and what they stand for."""
    encoded: Any = table[column].dictionary_encode().combine_chunks()
    return np.asarray(encoded.indices), encoded.dictionary


def _newest(codes: NDArray[np.int32], times: NDArray[np.int64], history: int) -> NDArray[np.int64]:
    """Returns the positions of each user's newest interactions: user by user, oldest first."""
    order = np.lexsort((times, codes))
    counts = np.bincount(codes)
    if counts.max() <= history:
        return order
    left = np.repeat(np.cumsum(counts), counts) - np.arange(len(order))
    return order[left <= history]


def _likes_together(
    entries: NDArray[np.int32], counts: NDArray[np.int64], users: Strings, items: Strings
) -> NDArray[np.int64]:
    """Returns the users in order of the first entries of their histories, then of their ids."""
    ranks = _ranks(items)
    starts = np.cumsum(counts) - counts
    keys: list[NDArray[np.int64]] = [_ranks(users)]
    for place in reversed(range(PREFIX)):
        there = place < counts
        keys.append(np.where(there, ranks[entries[np.where(there, starts + place, 0)]], -1))
    return np.lexsort(keys)


def _rearranged(
    entries: NDArray[np.int32], counts: NDArray[np.int64], order: NDArray[np.int64]
) -> NDArray[np.int32]:
    """Returns the users' entries one user after the other in another order of the users."""
    starts, wanted = np.cumsum(counts) - counts, counts[order]
    moves = starts[order] - (np.cumsum(wanted) - wanted)
    return entries[np.repeat(moves, wanted) + np.arange(len(entries))]


def _ranks(ids: Strings) -> NDArray[np.int64]:
    ranks = np.empty(len(ids), dtype=np.int64)
    ranks[np.asarray(pc.array_sort_indices(ids))] = np.arange(len(ids))
    return ranks
