"""Numbers as words of letters, so that they survive a prompt and a profile's phrases.

A word has a check at its end: a word that was damaged on its way is not read as another one.
"""

from __future__ import annotations

import hashlib
import re

_DIGITS = "bcdfghjklmnpqrst"
_WORD = re.compile(rf"\bx([{_DIGITS}z]+)y([{_DIGITS}]{{4}})\b")


def spell(*numbers: int) -> str:
    """Returns numbers, none of them negative, as one word of small letters."""
    body = "z".join(_letters(number) for number in numbers)
    return f"x{body}y{_check(body)}"


def read(text: str) -> list[tuple[int, ...]]:
    """Returns the numbers of all sound words in a text, in order."""
    found = []
    for match in _WORD.finditer(text):
        body, check = match.groups()
        if _check(body) == check and all(body.split("z")):
            found.append(tuple(_number(part) for part in body.split("z")))
    return found


def _letters(number: int) -> str:
    return "".join(_DIGITS[int(digit, 16)] for digit in f"{number:x}")


def _number(letters: str) -> int:
    return int("".join(f"{_DIGITS.index(letter):x}" for letter in letters), 16)


def _check(body: str) -> str:
    return _letters(int.from_bytes(hashlib.blake2b(body.encode(), digest_size=2).digest()))[
        -4:
    ].rjust(4, _DIGITS[0])
