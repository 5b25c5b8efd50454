"""The catalogue's search terms: what both stores agree on."""

from __future__ import annotations

import base64
import binascii
import re
import unicodedata

from services.profiles.errors import InvalidInput

_WORD = re.compile(r"\w+")
_MAX_TERM = 40


def terms(text: str) -> set[str]:
    """Returns the words of a text, without case and accents."""
    plain = "".join(
        character
        for character in unicodedata.normalize("NFKD", text)
        if not unicodedata.combining(character)
    )
    return {word[:_MAX_TERM] for word in _WORD.findall(plain.casefold())}


def matches(title: str, wanted: set[str]) -> bool:
    """Says whether each wanted term begins a word of the title."""
    words = terms(title)
    return all(any(word.startswith(prefix) for word in words) for prefix in wanted)


def to_cursor(member: bytes) -> str:
    """Returns a place in a listing as text for a URL."""
    return base64.urlsafe_b64encode(member).decode().rstrip("=")


def from_cursor(cursor: str) -> bytes:
    """Returns the place that a cursor names.

    Raises:
        InvalidInput: It is not one that `to_cursor` made.
    """
    try:
        member = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    except (binascii.Error, ValueError):
        member = b""
    # The decoder passes over characters that are not of its alphabet.
    if not member or to_cursor(member) != cursor:
        raise InvalidInput("cursor: not one that this service gave; start without it")
    return member
