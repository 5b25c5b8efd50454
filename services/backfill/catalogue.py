"""Puts the items of the input into the catalogue, so that histories can refer to them by id."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

from services.backfill.inputs.readers import read_items
from services.backfill.patience import patiently
from services.backfill.rows import BadRow

if TYPE_CHECKING:
    from pathlib import Path

    from services.backfill.makers import Maker
    from services.client import Item


async def put_all(path: Path, maker: Maker, *, patience_s: float) -> list[dict[str, Any]]:
    """Adds or replaces every item of a file or folder.

    Args:
        path: Of the items.
        maker: Whose catalogue.
        patience_s: How long a block of items may be pushed back.

    Returns:
        The items that were refused, as JSON documents with `error`.

    Raises:
        BackfillError: The catalogue takes nothing for too long, or the file cannot be read.
    """
    refused = []
    for block in read_items(path):
        items = [row for row in block if not isinstance(row, BadRow)]
        put = partial(maker.put_items, items)
        for item, error in await patiently(
            put, patience_s=patience_s, trouble="the catalogue took no items"
        ):
            said_of_it = {"code": error.code, "detail": error.detail}
            refused.append({"item_id": item.id, **_brief(item), "error": said_of_it})
    return refused


def _brief(item: Item) -> dict[str, str]:
    """Returns an item's texts, none of them so long that it fills the file."""
    return {name: text[:2_000] for name, text in asdict(item).items() if name != "id"}
