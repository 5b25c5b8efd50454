"""A request for a profile, as the service takes it: validated, and free of HTTP."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.profiles.domain.profile import Item, canonical_hash

if TYPE_CHECKING:
    from services.profiles.domain.profile import ProfileKey

NOTHING = bytes(8)
"""The digest of a request that refers to nothing."""


@dataclass(frozen=True, slots=True)
class ProfileRequest:
    """What a caller wants to have.

    Attributes:
        history: Catalogue ids or inline items, oldest first.
        item: For an item's profile: the item itself, when the catalogue is not to be asked.
        refresh: Generate even when there is a profile.
        max_age_s: Do not answer with an older profile.
        deadline_s: Answer within this time, with a degraded profile if need be.
        background: Let all requests without this go first.
        lenient: Pass over ids that the catalogue lacks, and rather than fail for want of the
            model, answer with a degraded profile.
        stored: The history is the service's own record: items that have left the catalogue since
            are passed over.
        fallback: An older profile will do when a new one cannot be made.
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
        """Returns 8 bytes over what the request refers to, without a look at the catalogue."""
        if not self.history and self.item is None:
            return NOTHING
        # Passing over items makes another reading of the same ids.
        parts = ["lenient"] if self.lenient else []
        for entry in self.history if self.item is None else (self.item, *self.history):
            if isinstance(entry, str):
                parts += ["id", entry]
            else:
                parts += ["item", entry.id, entry.title, entry.category, entry.description]
        return canonical_hash(parts, size=8)
