"""Finds the profiles with the rarest phrases.

A teacher often uses stock phrases ("movie buff"), and a small model learns those first: it then
writes the same few profiles for everyone. Without the blandest rows it learns specific phrases sooner.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.profiles.domain.profile import ProfileText


def rarest(profiles: Sequence[ProfileText], share: float) -> list[bool]:
    """Selects the profiles with the rarest phrases.

    The blandness of a profile is the mean over its phrases of log(number of profiles of its kind that
    have the phrase).

    Args:
        profiles: Profiles of users and items.
        share: Share of each kind to keep; of equally bland profiles the first ones are kept.

    Returns:
        For each profile, whether it is kept.
    """
    phrases = [
        [phrase.casefold() for phrase in (*words.identities, *words.interests)]
        for words in profiles
    ]
    kept = [False] * len(profiles)
    for kind in sorted({words.kind for words in profiles}):
        positions = [place for place, words in enumerate(profiles) if words.kind == kind]
        counts = Counter(phrase for place in positions for phrase in set(phrases[place]))

        def bland(place: int, counts: Counter[str] = counts) -> float:
            found = phrases[place]
            return sum(math.log(counts[phrase]) for phrase in found) / len(found)

        for place in sorted(positions, key=bland)[: round(share * len(positions))]:
            kept[place] = True
    return kept
