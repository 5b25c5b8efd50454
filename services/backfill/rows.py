"""The profiles to make, as they go from the grouped input to the engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reclm_client import Item


@dataclass(frozen=True, slots=True)
class ProfileRow:
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
