"""Finds the profiles that take one thing for two.

"Romantic, Drama, Comedy; Romantic films, Drama, Travel" has six phrases, says four things, and
calls a person a drama. A model that learns from such rows repeats itself, in the end to the letter,
and a profile with the same phrase twice is malformed.
"""

from __future__ import annotations

import re
from collections import Counter
from itertools import permutations
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.profiles.domain.profile import ProfileText

_WORDS = re.compile(r"\w+")


def repetitive(profiles: Sequence[ProfileText]) -> list[bool]:
    """Says which profiles repeat themselves, or name an interest where an identity should be.

    A profile repeats itself when all words of one phrase stand in another, the plural's s not
    counted. A phrase among its identities is an interest when at least as many profiles of the
    kind name it among theirs as among their identities.

    Args:
        profiles: Of users and items.
    """
    named: Counter[tuple[str, str]] = Counter()
    for words in profiles:
        named.update({(words.kind, phrase.casefold()): 1 for phrase in words.identities})
        named.subtract({(words.kind, phrase.casefold()): 1 for phrase in words.interests})
    return [
        _echoes(words)
        or any(named[words.kind, phrase.casefold()] <= 0 for phrase in words.identities)
        for words in profiles
    ]


def _echoes(words: ProfileText) -> bool:
    phrases = [_words(phrase) for phrase in (*words.identities, *words.interests)]
    return any(phrase <= other for phrase, other in permutations(phrases, 2))


def _words(phrase: str) -> frozenset[str]:
    return frozenset(word.removesuffix("s") for word in _WORDS.findall(phrase.casefold()))
