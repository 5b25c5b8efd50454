"""Finds the profiles that repeat themselves, or name interests among identities.

"Romantic, Drama, Comedy; Romantic films, Drama, Travel" has six phrases for four things, and "Drama" is
not an identity. A model that is trained on such rows repeats itself, and a profile with the same phrase
twice is malformed.
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
    """Finds profiles that repeat themselves, or name an interest as an identity.

    A profile repeats itself if all words of one phrase occur in another one, ignoring a plural's s.
    An identity is an interest if at least as many profiles of the kind have it among their interests
    as among their identities.

    Args:
        profiles: Profiles of users and items.

    Returns:
        For each profile, whether it is one of these.
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
