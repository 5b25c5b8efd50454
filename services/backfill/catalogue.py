"""Puts the items of the input into the catalogue, so that histories can refer to them by id."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

from reclm_client.schemas.item import ItemText
from services.backfill.inputs.readers import read_items
from services.backfill.retries import Stopped, retry
from services.common.tabular.blocks import BadRow

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterator
    from pathlib import Path

    from reclm_client import Item
    from services.backfill.makers import Maker

_PORTION = 1_000
"""Items between two looks whether to stop: a second or less."""


async def put_all(
    path: Path, maker: Maker, *, patience_s: float, stop: asyncio.Event | None = None
) -> list[dict[str, Any]]:
    """Adds or replaces every item of a file or folder; of items with one id the last counts.

    Args:
        path: Of the items.
        maker: Whose catalogue.
        patience_s: How long a portion of the items may be pushed back.
        stop: Begin no more portions when it is set.

    Returns:
        The items that were refused, as JSON documents with `error`.

    Raises:
        BackfillError: The catalogue takes nothing for too long, or the file cannot be read.
    """
    refused: list[dict[str, Any]] = []
    for items in _portions(path):
        if stop is not None and stop.is_set():
            break
        put = partial(maker.put_items, items)
        try:
            answer = await retry(
                put, patience_s=patience_s, trouble="the catalogue took no items", stop=stop
            )
        except Stopped:
            break
        for item, error in answer:
            said_of_it = {"code": error.code, "detail": error.detail}
            refused.append({"item_id": item.id, **_brief(item), "error": said_of_it})
    return refused


def _portions(path: Path) -> Iterator[list[Item]]:
    """Yields the items in order, a portion at a time.

    A maker may send parts of a portion at the same time, so no two items of one have the same id.
    """
    for block in read_items(path):
        last = {row.id: row for row in block if not isinstance(row, BadRow)}
        items = list(last.values())
        for start in range(0, len(items), _PORTION):
            yield items[start : start + _PORTION]


def _brief(item: Item) -> dict[str, str]:
    """Returns an item's texts, none of them so long that it fills the file."""
    texts = asdict(ItemText(item.title, item.category, item.description))
    return {name: text[:2_000] for name, text in texts.items()}
