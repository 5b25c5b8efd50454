"""What callers get: a stored profile, how it was come by, and whether it answers a request."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reclm_client.schemas import adapter
from reclm_client.schemas.profile import Profile
from services.profiles.domain.requests import NOTHING

if TYPE_CHECKING:
    from services.profiles.domain.profile import Status
    from services.profiles.domain.requests import ProfileRequest
    from services.profiles.stores.codec import Stored


@dataclass(frozen=True, slots=True)
class ProfileAnswer:
    """A profile with its status.

    Attributes:
        version: The JSON of the profile's version.
    """

    stored: Stored
    status: Status
    version: bytes

    def document(self, *, embedding: bool) -> bytes:
        """Returns the JSON for the caller."""
        return self.stored.response(self.status, self.version, embedding=embedding)

    def profile(self, *, embedding: bool) -> Profile:
        """Returns the document as a value."""
        return adapter(Profile).validate_json(self.document(embedding=embedding))


def fits(stored: Stored, request: ProfileRequest) -> bool:
    """Returns whether a profile, of whatever version, is of what a request refers to."""
    return young(stored, request.max_age_s) and request.digest() in {NOTHING, stored.request_digest}


def young(stored: Stored, max_age_s: float | None) -> bool:
    """Returns whether a profile is not older than a limit."""
    return max_age_s is None or time.time() * 1000 - stored.created_ms <= max_age_s * 1000
