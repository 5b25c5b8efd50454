"""The nearest neighbours of items by co-occurrence in histories."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray


def co_chosen(
    histories: Mapping[str, Sequence[str]],
    items: Sequence[str],
    *,
    limit: int,
    of: Sequence[str] | None = None,
) -> Iterator[list[str]]:
    """Yields the nearest items of each item by the cosine of their users.

    Args:
        histories: User id -> item ids; an item counts once per user.
        items: The ids of all items; every item of the histories must be among them.
        limit: Maximum number of neighbours of an item.
        of: The items to find neighbours for; all by default.

    Yields:
        For each item of `of`, in order: the ids of its neighbours, the nearest last. Prompts are
        cut at the front to fit a token budget, which so keeps the nearest. Of equally near items,
        the later one in `items` comes first.
    """
    number = {name: row for row, name in enumerate(items)}
    chosen = [
        np.unique(np.fromiter((number[name] for name in history), np.int64, len(history)))
        for history in histories.values()
    ]
    popularity = np.bincount(_joined(chosen), minlength=len(items))
    users = np.repeat(np.arange(len(chosen)), [len(rows) for rows in chosen])
    by_item = np.argsort(_joined(chosen), kind="stable")
    chosen_by = np.split(users[by_item], np.cumsum(popularity)[:-1])
    for row in range(len(items)) if of is None else [number[name] for name in of]:
        together = np.bincount(
            _joined([chosen[user] for user in chosen_by[row]]), minlength=len(items)
        )
        together[row] = 0
        others = np.flatnonzero(together)
        nearness = together[others] / np.sqrt(popularity[others])
        nearest = others[np.argsort(-nearness, kind="stable")[:limit]]
        yield [items[other] for other in nearest[::-1]]


def _joined(parts: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)
