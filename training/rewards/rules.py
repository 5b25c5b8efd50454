"""How good a profile is by rules alone: its form, its ground in the history, its likeness to others.

The same rules reward a policy while it trains and judge a model afterwards.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from services.profiles.generation.grammar import NotAProfile, parse

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from services.profiles.domain.profile import Kind, ProfileText

_WORD = re.compile(r"[^\W\d_]{4,}")
_STEM = 5
"""Characters in which two words are the same one: "robot" and "robotics", "comedy" and "comedies"."""

_EMPTY = frozenset(
    [
        "with",
        "from",
        "that",
        "this",
        "they",
        "them",
        "their",
        "there",
        "then",
        "than",
        "when",
        "what",
        "which",
        "while",
        "into",
        "over",
        "under",
        "about",
        "after",
        "before",
        "between",
        "both",
        "each",
        "every",
        "more",
        "most",
        "other",
        "some",
        "such",
        "only",
        "very",
        "just",
        "like",
        "also",
        "been",
        "being",
        "have",
        "having",
        "does",
        "user",
        "users",
        "item",
        "items",
        "lover",
        "lovers",
        "viewer",
        "viewers",
        "fan",
        "fans",
        "enthusiast",
        "enthusiasts",
        "person",
        "people",
        "stories",
        "story",
        "movie",
        "movies",
        "film",
        "films",
    ]
)
"""Words that every second profile has, and that say nothing of this user."""


def stems(text: str) -> frozenset[str]:
    """Returns the telling words of a text, each cut to its beginning."""
    words = _WORD.findall(text.casefold())
    return frozenset(word[:_STEM] for word in words if word not in _EMPTY)


def read_profile(kind: Kind, text: str) -> ProfileText | None:
    """Returns the profile that a text is, or None if it is none even after repair."""
    try:
        return parse(kind, text)
    except NotAProfile:
        return None


def is_well_formed(kind: Kind, text: str) -> bool:
    """Says whether a text is a profile as it stands, with nothing to repair."""
    profile = read_profile(kind, text)
    return profile is not None and profile.text == text.strip()


def grounded(profile: ProfileText, history: Iterable[str]) -> float:
    """Returns the share of phrases that share a telling word with what the model read."""
    read = frozenset[str]().union(*(stems(line) for line in history))
    phrases = (*profile.identities, *profile.interests)
    return sum(not stems(phrase).isdisjoint(read) for phrase in phrases) / len(phrases)


def likeness(text: str, others: Sequence[str]) -> float:
    """Returns how like the most similar of other texts a text is: Jaccard index of their words.

    Returns:
        0 (no telling word in common, or no others) to 1 (the same words).
    """
    own = stems(text)
    return max((_jaccard(own, stems(other)) for other in others), default=0.0)


def sameness(texts: Sequence[str]) -> list[float]:
    """Returns how like the most similar of the others each text is, as `likeness` does."""
    words = [stems(text) for text in texts]
    return [
        max((_jaccard(own, other) for place, other in enumerate(words) if place != at), default=0.0)
        for at, own in enumerate(words)
    ]


def _jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    union = one | other
    return len(one & other) / len(union) if union else 1.0
