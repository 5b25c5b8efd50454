"""A request for a profile: validated, and independent of HTTP."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from reclm_client.schemas import profile as wire
from services.profiles.domain.profile import Item, ProfileKey, canonical_hash
from services.profiles.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.profiles.domain.profile import Kind

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
        epoch: The last erasure that was known when the history was read from the store, as
            `codec.epoch_of` returns it; None if the history came with the request.
        ttl_s: How long the profile is kept at most; None for as long as all others.
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
    epoch: int | None = None
    ttl_s: int | None = None

    @property
    def names_input(self) -> bool:
        """Whether the request says what the profile is to be made from."""
        return bool(self.history) or self.item is not None

    def digest(self) -> bytes:
        """Returns 8 bytes over what the request refers to; the catalogue is not read."""
        if not self.names_input:
            return NOTHING
        return _digest(self.history, self.item, self.lenient)


@lru_cache(maxsize=512)  # a request is asked for its digest several times
def _digest(history: tuple[str | Item, ...], item: Item | None, lenient: bool) -> bytes:
    # Skipped items make another input of the same ids.
    parts = ["lenient"] if lenient else []
    for entry in history if item is None else (item, *history):
        if isinstance(entry, str):
            parts += ["id", entry]
        else:
            parts += ["item", entry.id, entry.title, entry.category, entry.description]
    return canonical_hash(parts, size=8)


def profile_request(
    body: wire.UserProfileRequest, kind: Kind, *, tenant: str, max_history: int
) -> ProfileRequest:
    """Returns a request from the wire as the service takes it.

    Raises:
        InvalidInput: The history is longer than the limit.
    """
    check_history(body.history, most=max_history)
    text = body.item if isinstance(body, wire.ProfileRequest) else None
    return ProfileRequest(
        key=ProfileKey(tenant, kind, body.id),
        history=tuple(body.history),
        item=None if text is None else Item(body.id, text.title, text.category, text.description),
        refresh=body.refresh,
        max_age_s=body.max_age_s,
        deadline_s=None if body.deadline_ms is None else body.deadline_ms / 1000,
        background=body.background,
    )


def check_history(history: Sequence[str | Item], *, most: int) -> None:
    """Refuses a history of which the greater part would not be read.

    Raises:
        InvalidInput: It is longer than the limit.
    """
    if len(history) > most:
        raise InvalidInput(
            f"body.history: {len(history)} entries; send at most {most}, "
            "the newest, since older ones are not read"
        )
