"""How a profile lies in a store, and how it becomes a response without being parsed.

A value is a fixed header, the part of the JSON response that only this profile has, and the
vector in float16. A cache hit copies that part into the response between a status and the
provenance; nothing is decoded. What all profiles of a version share (the version's own JSON) is
kept once for all, which is why a million profiles fit in 1.5 GB.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from pydantic_core import to_json

from services.profiles.domain.profile import Profile, timestamp

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from services.profiles.domain.profile import Status

LAYOUT = 1
"""Bumped whenever the bytes change their meaning; other layouts read as absent."""

# layout, unused, fragment length, version digest, request digest, input hash, created (ms)
_HEADER = struct.Struct("<BBI8s8s16sQ")


@dataclass(frozen=True, slots=True)
class Stored:
    """A stored profile, looked at in place.

    Attributes:
        value: The bytes as they lie in the store.
        fragment_bytes: Length of the JSON fragment that follows the header.
    """

    value: bytes
    fragment_bytes: int
    version_digest: bytes
    request_digest: bytes
    input_hash: bytes
    created_ms: int

    @property
    def fragment(self) -> bytes:
        """The JSON members that only this profile has, without braces."""
        return self.value[_HEADER.size : _HEADER.size + self.fragment_bytes]

    @property
    def vector(self) -> NDArray[np.float16]:
        """The embedding: shape (dimension,), unit length."""
        return np.frombuffer(
            self.value, dtype=np.float16, offset=_HEADER.size + self.fragment_bytes
        )

    def response(self, status: Status, version: bytes, *, embedding: bool = False) -> bytes:
        """Returns the JSON document that goes to a caller.

        Args:
            status: How the caller got it.
            version: JSON of the version that made it.
            embedding: Add the vector.
        """
        vector = (
            b',"embedding":' + to_json(self.vector.astype(np.float32).tolist())
            if embedding
            else b""
        )
        return b"".join(
            (
                b'{"status":"',
                status.encode(),
                b'",',
                self.fragment,
                b',"input_hash":"',
                self.input_hash.hex().encode(),
                b'","created_at":"',
                timestamp(self.created_ms).encode(),
                b'","version":',
                version,
                vector,
                b"}",
            )
        )

    def rebound(self, request_digest: bytes) -> bytes:
        """Returns the value under another request that comes to the same input."""
        header = _HEADER.pack(
            LAYOUT,
            0,
            self.fragment_bytes,
            self.version_digest,
            request_digest,
            self.input_hash,
            self.created_ms,
        )
        return header + self.value[_HEADER.size :]


def encode(profile: Profile) -> bytes:
    """Returns the bytes to store for a profile."""
    fragment = _fragment(profile)
    header = _HEADER.pack(
        LAYOUT,
        0,
        len(fragment),
        profile.version_digest,
        profile.request_digest,
        profile.input_hash,
        profile.created_ms,
    )
    return header + fragment + profile.vector.astype(np.float16).tobytes()


def look(value: bytes | None) -> Stored | None:
    """Returns a view of a stored value; None for none, or for one in another layout."""
    if value is None or len(value) < _HEADER.size:
        return None
    layout, _, fragment_bytes, version, request, input_hash, created = _HEADER.unpack_from(value)
    if layout != LAYOUT:
        return None
    return Stored(value, fragment_bytes, version, request, input_hash, created)


def _fragment(profile: Profile) -> bytes:
    words = profile.words
    members = {
        "kind": words.kind,
        "id": profile.id,
        "identities": words.identities,
        "interests": words.interests,
        "text": words.text,
    }
    return to_json(members)[1:-1]
