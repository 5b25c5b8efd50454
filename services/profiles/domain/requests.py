"""A request for a profile: validated, and independent of HTTP."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.profiles.domain.profile import Item, canonical_hash

if TYPE_CHECKING:
    from services.profiles.domain.profile import ProfileKey

NOTHING = bytes(8)
"""The digest of a request without a history or an item."""


@dataclass(frozen=True, slots=True)
class ProfileRequest:
    """What a caller asks for.

    Attributes:
        history: Catalogue ids or inline items, oldest first.
        item: For an item's profile: the item itself, if it is not to be read from the catalogue.
        refresh: Generate even if there is a profile.
        max_age_s: Do not answer with an older profile.
        deadline_s: Answer within this time, with a degraded profile if necessary.
        background: Let all requests without this go first.
        lenient: Skip ids that the catalogue lacks, and answer with a degraded profile when the
            model fails.
        stored: The history is what the service has recorded; items that are no longer in the
            catalogue are skipped.
        fallback: Answer with an older profile when a new one cannot be generated.
    """

    key: ProfileKey
    history: tuple[str | Item, ...] = ()
    item: Item | None = None
    refresh: bool = False
    max_age_s: float | None = None
    deadline_s: float | None = None
    background: bool = False
    lenient: bool = False
    stored: bool = False
    fallback: bool = True

    def digest(self) -> bytes:
        """Returns 8 bytes over what the request refers to; the catalogue is not read."""
        if not self.history and self.item is None:
            return NOTHING
        # Skipped items make another input of the same ids.
        parts = ["lenient"] if self.lenient else []
        for entry in self.history if self.item is None else (self.item, *self.history):
            if isinstance(entry, str):
                parts += ["id", entry]
            else:
                parts += ["item", entry.id, entry.title, entry.category, entry.description]
        return canonical_hash(parts, size=8)
