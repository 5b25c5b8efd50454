"""Changes of the catalogue: the same in all stores, and as little as possible in each profile."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reclm_client.schemas.fields import to_milliseconds

if TYPE_CHECKING:
    from collections.abc import Iterable

    from services.profiles.domain.profile import Item

ALWAYS = 0
"""In the place of the time from which an item is withdrawn."""

MARK_BYTES = 3
"""Two items have the same mark with a chance of 1 in 16,777,216. Where one of them changes, profiles
made from the other are compared with the catalogue once, which changes nothing."""

CHANGES_KEPT = 50_000
"""Items of a catalogue whose last change is kept. See docs/decisions/0024-catalogue-changes.md."""


@dataclass(frozen=True, slots=True)
class ItemChange:
    """An item that was added, changed or removed.

    Attributes:
        stamp: When it was changed last: larger than that of every change before.
        withdrawn_ms: From when on it is withdrawn, in Unix milliseconds, 0 for always; None for an
            item that is not.
    """

    item_id: str
    stamp: int
    withdrawn_ms: int | None


@dataclass(frozen=True, slots=True)
class ChangePage:
    """Changes of a catalogue, in order of their stamps.

    Attributes:
        stamp: That of the last change there was; 0 for none.
        floor: Changes up to this stamp are not kept any more.
    """

    stamp: int
    floor: int
    changes: tuple[ItemChange, ...]


def mark(item_id: str) -> bytes:
    """Returns the few bytes that stand for an item in profiles that were made from it."""
    return hashlib.blake2b(item_id.encode(), digest_size=MARK_BYTES).digest()


def marks(item_ids: Iterable[str]) -> bytes:
    """Returns the marks of distinct items, one after another."""
    return b"".join(map(mark, dict.fromkeys(item_ids)))


def withdrawn_ms(item: Item) -> int | None:
    """Returns from when on an item is withdrawn, in Unix milliseconds; None for never."""
    if item.hidden:
        return ALWAYS
    return None if item.expires_at is None else to_milliseconds(item.expires_at)
