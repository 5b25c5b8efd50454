"""Finds the profiles that say a thing twice.

"Romantic, Drama, Comedy; Romantic films, Drama, Travel" has six phrases and says four things. A
model that learns from such rows repeats itself, in the end to the letter, and a profile with the
same phrase twice is malformed.
"""

from __future__ import annotations

import re
from itertools import permutations
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from services.profiles.models import ProfileText

_WORDS = re.compile(r"\w+")


def echoes(words: ProfileText) -> bool:
    """Says whether all words of one phrase stand in another, the plural's s not counted."""
    phrases = [_words(phrase) for phrase in (*words.identities, *words.interests)]
    return any(phrase <= other for phrase, other in permutations(phrases, 2))


def _words(phrase: str) -> frozenset[str]:
    return frozenset(word.removesuffix("s") for word in _WORDS.findall(phrase.casefold()))
