"""Measures of a profile by rules: its form, its ground in the history, its similarity to others.

The same measures reward a policy in training and evaluate a model afterwards.
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
"""Characters that two forms of a word share: "robot" and "robotics", "comedy" and "comedies"."""

_STOP_WORDS = frozenset(
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
"""Words that are frequent in all profiles, and so do not describe a user."""


def stems(text: str) -> frozenset[str]:
    """Returns the content words of a text, each cut to its first characters."""
    words = _WORD.findall(text.casefold())
    return frozenset(word[:_STEM] for word in words if word not in _STOP_WORDS)


def read_profile(kind: Kind, text: str) -> ProfileText | None:
    """Returns a text as a profile; None if it is not one even after repair."""
    try:
        return parse(kind, text)
    except NotAProfile:
        return None


def is_well_formed(kind: Kind, text: str) -> bool:
    """Returns whether a text is a profile that needs no repair."""
    profile = read_profile(kind, text)
    return profile is not None and profile.text == text.strip()


def grounded_share(profile: ProfileText, history: Iterable[str]) -> float:
    """Returns the share of phrases that have a content word in common with the history."""
    read = frozenset[str]().union(*(stems(line) for line in history))
    phrases = (*profile.identities, *profile.interests)
    return sum(not stems(phrase).isdisjoint(read) for phrase in phrases) / len(phrases)


def similarity(text: str, others: Sequence[str]) -> float:
    """Returns the similarity of a text to the most similar of others: Jaccard index of their words.

    Returns:
        0 (no content word in common, or no others) to 1 (the same content words).
    """
    own = stems(text)
    return max((_jaccard(own, stems(other)) for other in others), default=0.0)


def similarities(texts: Sequence[str]) -> list[float]:
    """Returns the similarity of each text to the most similar of the others, as `similarity` does."""
    words = [stems(text) for text in texts]
    return [
        max((_jaccard(own, other) for place, other in enumerate(words) if place != at), default=0.0)
        for at, own in enumerate(words)
    ]


def _jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    union = one | other
    return len(one & other) / len(union) if union else 1.0
