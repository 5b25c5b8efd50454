"""The layout of a stored profile, and how it becomes a response without being parsed.

A value is a fixed header, the members of the JSON response that belong to this profile alone, marks
of the catalogue items that it was made from, and the vector in float16. A cache hit copies those members into the response; nothing is decoded. The
JSON of a version is stored once for all its profiles. So a million profiles fit in 1.5 GB.

What was erased leaves a tombstone under the same key: a value with an epoch and nothing else. The
epoch is the time of the erasure. A profile that is stored later carries it too. So whoever reads the
key knows which erasure came last, and the store can refuse what was begun before it.
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

LAYOUT = 2
"""Increased whenever the layout changes; values of another layout are treated as absent."""

TOMBSTONE = 0
"""Stands in the place of the layout."""

# layout, epoch, fragment length, version digest, request digest, input hash, created (ms), stamp of
# the catalogue, length of the marks
_HEADER = struct.Struct("<BQI8s8s16sQQH")
_FENCE = struct.Struct("<BQ")

HEADER_BYTES = _HEADER.size
EPOCH_AT = 1
VERSION_AT = 13


@dataclass(frozen=True, slots=True)
class Stored:
    """A view of a stored profile.

    Attributes:
        value: The stored bytes.
        epoch: When the last erasure before it was, in Unix milliseconds; 0 for never.
        fragment_bytes: Length of the JSON fragment that follows the header.
        stamp: The last change of the catalogue that was known when its texts were read.
        marks_bytes: Length of the marks that follow the fragment.
    """

    value: bytes
    epoch: int
    fragment_bytes: int
    version_digest: bytes
    request_digest: bytes
    input_hash: bytes
    created_ms: int
    stamp: int
    marks_bytes: int

    @property
    def fragment(self) -> bytes:
        """The JSON members of this profile alone, without braces."""
        return self.value[_HEADER.size : _HEADER.size + self.fragment_bytes]

    @property
    def marks(self) -> bytes:
        """The marks of the catalogue items that were read (`item_changes.marks`)."""
        start = _HEADER.size + self.fragment_bytes
        return self.value[start : start + self.marks_bytes]

    @property
    def vector(self) -> NDArray[np.float16]:
        """The embedding: shape (dimension,), unit length."""
        start = _HEADER.size + self.fragment_bytes + self.marks_bytes
        return np.frombuffer(self.value, dtype=np.float16, offset=start)

    def response(self, status: Status, version: bytes, *, embedding: bool = False) -> bytes:
        """Returns the JSON document for a caller.

        Args:
            status: The status to report.
            version: The JSON of the profile's version.
            embedding: Include the vector.
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

    def rebound(self, request_digest: bytes, *, stamp: int, marks: bytes) -> bytes:
        """Returns the value with the digest of another request, which leads to the same input.

        Args:
            request_digest: Of the other request.
            stamp: The last change of the catalogue that was known when its input was read.
            marks: Of the catalogue items in its input.
        """
        header = _HEADER.pack(
            LAYOUT,
            self.epoch,
            self.fragment_bytes,
            self.version_digest,
            request_digest,
            self.input_hash,
            self.created_ms,
            stamp,
            len(marks),
        )
        return header + self.fragment + marks + self.vector.tobytes()


def encode(profile: Profile, *, epoch: int = 0) -> bytes:
    """Returns the bytes to store for a profile.

    Args:
        profile: The profile.
        epoch: The last erasure that was known when it was begun.
    """
    fragment = _fragment(profile)
    header = _HEADER.pack(
        LAYOUT,
        epoch,
        len(fragment),
        profile.version_digest,
        profile.request_digest,
        profile.input_hash,
        profile.created_ms,
        profile.stamp,
        len(profile.marks),
    )
    return header + fragment + profile.marks + profile.vector.astype(np.float16).tobytes()


def look(value: bytes | None) -> Stored | None:
    """Returns a view of a stored value; None for no value, a tombstone or another layout."""
    if value is None or len(value) < _HEADER.size:
        return None
    layout, *members = _HEADER.unpack_from(value)
    if layout != LAYOUT:
        return None
    return Stored(value, *members)


def tombstone(epoch: int) -> bytes:
    """Returns the value that says when something was erased, in Unix milliseconds."""
    return _FENCE.pack(TOMBSTONE, epoch)


def epoch_of(value: bytes | None) -> int:
    """Returns when the last erasure was that a value tells of, in Unix milliseconds; 0 for none."""
    if value is None or len(value) < _FENCE.size:
        return 0
    layout, epoch = _FENCE.unpack_from(value)
    return epoch if layout in {LAYOUT, TOMBSTONE} else 0


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
