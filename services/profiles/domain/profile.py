"""Profiles and what they are made of: the values that all parts of the service exchange."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from reclm_client.schemas.item import Item
from reclm_client.schemas.profile import Component, Kind, ProfileVersion, Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

# The first five go over the wire as they are, and are defined with the wire's schemas.
__all__ = [
    "PHRASES",
    "Component",
    "Item",
    "Kind",
    "Message",
    "Profile",
    "ProfileKey",
    "ProfileText",
    "ProfileVersion",
    "Status",
    "canonical_hash",
    "timestamp",
]

PHRASES: dict[Kind, int] = {"user": 3, "item": 5}
"""The number of identities, and of interests, in a profile of each kind (arXiv 2412.19302)."""


@dataclass(frozen=True, slots=True)
class ProfileKey:
    """Identifies a profile: the tenant, and the user or item."""

    tenant: str
    kind: Kind
    id: str


@dataclass(frozen=True, slots=True)
class Message:
    """One chat turn: `role` is system, user or assistant."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class ProfileText:
    """The phrases of a profile: as many identities as interests, in the model's order."""

    kind: Kind
    identities: tuple[str, ...]
    interests: tuple[str, ...]

    @property
    def text(self) -> str:
        """The profile as one sentence, in the form of the paper (arXiv 2412.19302)."""
        name = self.kind.capitalize()
        identities, interests = ", ".join(self.identities), ", ".join(self.interests)
        return f"{name} identity: {identities}; {name} interests: {interests}."


@dataclass(frozen=True, slots=True)
class Profile:
    """A profile with its embedding, and with what it was made from.

    Attributes:
        vector: Shape (dimension,), float16, unit length.
        version_digest: 8 bytes that identify the version that made it.
        input_hash: 16 bytes over what the model read.
        request_digest: 8 bytes over what the request referred to. A request of the same digest is
            answered from the cache without reading the catalogue.
        created_ms: Unix time in milliseconds.
        stamp: The last change of the catalogue that was known when its texts were read.
        marks: Of the items of the catalogue that were read, a few bytes for each.
    """

    id: str
    words: ProfileText
    vector: NDArray[np.float16]
    version_digest: bytes
    input_hash: bytes
    request_digest: bytes
    created_ms: int
    stamp: int = 0
    marks: bytes = b""

    @property
    def created_at(self) -> str:
        """The time of creation in RFC 3339, UTC, whole seconds."""
        return timestamp(self.created_ms)


def timestamp(milliseconds: int) -> str:
    """Returns Unix milliseconds in RFC 3339, UTC, whole seconds."""
    return datetime.fromtimestamp(milliseconds // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def canonical_hash(parts: Sequence[str], *, size: int) -> bytes:
    """Hashes a sequence of strings; each is preceded by its length, so that boundaries count.

    Args:
        parts: What to hash, in order.
        size: Bytes of the result.
    """
    framed: list[bytes] = []
    for part in parts:
        raw = part.encode()
        framed += (len(raw).to_bytes(4, "big"), raw)
    return hashlib.blake2b(b"".join(framed), digest_size=size).digest()
