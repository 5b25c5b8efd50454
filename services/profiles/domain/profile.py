"""What a profile is: the values that every part of the service hands to the next."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

Kind = Literal["user", "item"]
Status = Literal["generated", "cached", "stale", "degraded"]

PHRASES: dict[Kind, int] = {"user": 3, "item": 5}
"""How many identities, and how many interests, a profile of each kind has (arXiv 2412.19302)."""


@dataclass(frozen=True, slots=True)
class ProfileKey:
    """Names one profile: whose it is, and in which tenant's cache it lies."""

    tenant: str
    kind: Kind
    id: str


@dataclass(frozen=True, slots=True)
class Component:
    """A part that a profile depends on: its name and a short hash of its content."""

    name: str
    hash: str


@dataclass(frozen=True, slots=True)
class ProfileVersion:
    """All that decides what a profile says, apart from what the model read."""

    base_model: Component
    adapter: Component | None
    prompt: Component
    encoder: Component

    def to_json(self) -> bytes:
        """Returns the canonical JSON form, as it goes out in a response."""
        parts = {
            name: None if part is None else {"name": part.name, "hash": part.hash}
            for name, part in (
                ("base_model", self.base_model),
                ("adapter", self.adapter),
                ("prompt", self.prompt),
                ("encoder", self.encoder),
            )
        }
        return json.dumps(parts, separators=(",", ":")).encode()

    def digest(self) -> bytes:
        """Returns 8 bytes that stand for this version in the store."""
        return hashlib.blake2b(self.to_json(), digest_size=8).digest()


@dataclass(frozen=True, slots=True)
class Item:
    """An item as the model reads it. `id` is empty for an inline item without one."""

    id: str
    title: str
    category: str = ""
    description: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """One chat turn: `role` is system, user or assistant."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class ProfileText:
    """The words of a profile: equally many identities and interests, in the model's order."""

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
    """A profile with its embedding and its provenance.

    Attributes:
        vector: Shape (dimension,), float16, unit length.
        version: Canonical JSON of the ProfileVersion that made it.
        input_hash: 16 bytes over what the model read.
        request_digest: 8 bytes over what the request referred to; equal digests need no look
            at the catalogue to know that the input is the same.
        created_ms: Unix time in milliseconds.
    """

    id: str
    words: ProfileText
    vector: NDArray[np.float16]
    version_digest: bytes
    input_hash: bytes
    request_digest: bytes
    created_ms: int

    @property
    def created_at(self) -> str:
        """The time of creation in RFC 3339, UTC, whole seconds."""
        return timestamp(self.created_ms)


def timestamp(milliseconds: int) -> str:
    """Returns Unix milliseconds in RFC 3339, UTC, whole seconds."""
    return datetime.fromtimestamp(milliseconds // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def canonical_hash(parts: Sequence[str], *, size: int) -> bytes:
    """Hashes strings so that no two different sequences have the same bytes to hash.

    Args:
        parts: What to hash, in order.
        size: Bytes of the result.
    """
    digest = hashlib.blake2b(digest_size=size)
    for part in parts:
        raw = part.encode()
        digest.update(len(raw).to_bytes(4, "big"))
        digest.update(raw)
    return digest.digest()
