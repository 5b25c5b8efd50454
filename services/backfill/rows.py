"""What goes from the input to the engine: profiles to make, and rows that are none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reclm_client import Item

RAW_CHARACTERS = 2_000
"""How much of a bad row is kept."""


@dataclass(frozen=True, slots=True)
class Row:
    """One profile to make.

    Attributes:
        id: Whose.
        history: Ids of catalogue items, or items inline; oldest first, the newest ones only.
        digest: 8 bytes over all that the request says, and 8 over the texts of the catalogue items
            that it refers to.
    """

    id: str
    history: tuple[str | Item, ...]
    digest: bytes


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row of the input that cannot be read; it costs only itself.

    Attributes:
        id: Whose row it is, where that can be read.
        where: Such as "interactions.csv, line 17" (from 1) or "x.parquet, row 3" (from 0).
        why: What is wrong with it.
        raw: The row as it stood, cut to 2,000 characters, to be mended and fed back.
    """

    id: str | None
    where: str
    why: str
    raw: str | None
