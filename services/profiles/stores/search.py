"""Search terms and cursors of the catalogue, the same in all stores."""

from __future__ import annotations

import base64
import binascii
import re
import unicodedata

from services.profiles.errors import InvalidInput

_WORD = re.compile(r"\w+")
_MAX_TERM = 40


def terms(text: str) -> set[str]:
    """Returns the words of a text, case-folded and without accents."""
    plain = "".join(
        character
        for character in unicodedata.normalize("NFKD", text)
        if not unicodedata.combining(character)
    )
    return {word[:_MAX_TERM] for word in _WORD.findall(plain.casefold())}


def matches(title: str, wanted: set[str]) -> bool:
    """Returns whether each wanted term is the beginning of a word of the title."""
    words = terms(title)
    return all(any(word.startswith(prefix) for word in words) for prefix in wanted)


def to_cursor(member: bytes) -> str:
    """Returns a position in a listing as text for a URL."""
    return base64.urlsafe_b64encode(member).decode().rstrip("=")


def from_cursor(cursor: str) -> bytes:
    """Returns the position of a cursor.

    Raises:
        InvalidInput: It was not made by `to_cursor`.
    """
    try:
        member = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    except (binascii.Error, ValueError):
        member = b""
    # The decoder ignores characters outside its alphabet.
    if not member or to_cursor(member) != cursor:
        raise InvalidInput("cursor: not one that this service gave; start without it")
    return member
