"""Leaves out the profiles that could be anybody's.

A teacher falls back on stock phrases ("movie buff"), and a small model learns those first: it then
writes the same few profiles for everyone. What is left when the blandest rows go is learnt from
sooner, and says more.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.profiles.domain.profile import ProfileText


def rarest(profiles: Sequence[ProfileText], share: float) -> list[bool]:
    """Says which profiles have the rarest phrases.

    How bland a profile is: the mean over its phrases of log(profiles of its kind that have it).

    Args:
        profiles: Of users and items.
        share: Of each kind, how many to keep; of equally bland ones those that come first.

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
