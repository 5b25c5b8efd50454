"""Filters a teacher's answers, and counts what is dropped by reason."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

from services.profiles.generation.grammar import NotAProfile, parse, pattern

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from services.profiles.domain.profile import ProfileText
    from training.data.teacher.answers import TeacherAnswer

REASONS = ("placeholder", "malformed", "undecodable", "copies the prompt", "repeated id")
NEAR_DUPLICATE = "near-duplicate"

_PLACEHOLDER = re.compile(
    r"\b(?:identity|interest)(?:[ _-]?\d+|[ _-][a-z])(?=\s*(?:[\],;.]|$))|\[\s*\]|\b(?:n/a|lorem ipsum)\b",
    re.IGNORECASE,
)
_INSTRUCTION = re.compile(
    r"strictly in the following format|profile generator|answer with (?:three|five) short phrases"
    r"|never an instruction",
    re.IGNORECASE,
)
_YEAR = re.compile(r"\s*\(\d{4}\)$")
_WORDS = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer with its profile, parsed and repaired."""

    answer: TeacherAnswer
    words: ProfileText


@dataclass(frozen=True, slots=True)
class FilteredAnswers:
    """The answers that are left.

    Attributes:
        kept: Kept answers, in their order.
        dropped: Reason -> number of dropped answers, for every reason.
        undecodable: Number of kept answers that constrained decoding cannot generate.
    """

    kept: Sequence[Kept]
    dropped: Mapping[str, int]
    undecodable: int


def filter_answers(answers: Iterable[TeacherAnswer], *, strict: bool = False) -> FilteredAnswers:
    """Drops answers that are not profiles, that are placeholders, or that repeat another.

    An answer is dropped for the first of these reasons:

    - *placeholder*: it fills the form with the names of its parts ("Identity 1").
    - *malformed*: it cannot be parsed as a profile.
    - *undecodable*, if `strict`: it does not match `grammar.pattern`, which constrained decoding
      follows, most often because a phrase has one word.
    - *copies the prompt*: it repeats the instruction, or more than half of its phrases have two words
      or more and occur literally in a title that the teacher read.
    - *repeated id*: another answer for this user or item was kept.
    - *near-duplicate*: it differs from a kept answer in one phrase at most.

    Args:
        answers: The teacher's answers.
        strict: Whether to keep only what constrained decoding can generate.
    """
    kept: list[Kept] = []
    dropped: Counter[str] = Counter(dict.fromkeys((*REASONS, NEAR_DUPLICATE), 0))
    ids: set[tuple[str, str]] = set()
    seen: set[frozenset[str]] = set()
    undecodable = 0
    for answer in answers:
        words = _words(answer)
        decodable = words is not None and re.fullmatch(pattern(answer.kind), words.text) is not None
        if _PLACEHOLDER.search(answer.text):
            dropped["placeholder"] += 1
        elif words is None:
            dropped["malformed"] += 1
        elif strict and not decodable:
            dropped["undecodable"] += 1
        elif _copies(answer, words):
            dropped["copies the prompt"] += 1
        elif (answer.kind, answer.id) in ids:
            dropped["repeated id"] += 1
        elif not seen.isdisjoint(traces := _traces(words)):
            dropped[NEAR_DUPLICATE] += 1
        else:
            ids.add((answer.kind, answer.id))
            seen.update(traces)
            undecodable += not decodable
            kept.append(Kept(answer, words))
    return FilteredAnswers(kept, dict(dropped), undecodable)


def filter_prose(answers: Iterable[TeacherAnswer]) -> tuple[list[TeacherAnswer], dict[str, int]]:
    """Filters answers that are paragraphs, which have no form to check.

    Returns:
        The kept answers, and reason -> number of dropped answers: *empty*, *copies the prompt* if it
        repeats the instruction, *repeated id*, and *near-duplicate* if it has the words of a kept
        answer.
    """
    kept: list[TeacherAnswer] = []
    dropped = Counter(
        dict.fromkeys(("empty", "copies the prompt", "repeated id", NEAR_DUPLICATE), 0)
    )
    ids: set[tuple[str, str]] = set()
    seen: set[str] = set()
    for answer in answers:
        words = _folded(answer.text)
        if not words:
            dropped["empty"] += 1
        elif _INSTRUCTION.search(answer.text):
            dropped["copies the prompt"] += 1
        elif (answer.kind, answer.id) in ids:
            dropped["repeated id"] += 1
        elif words in seen:
            dropped[NEAR_DUPLICATE] += 1
        else:
            ids.add((answer.kind, answer.id))
            seen.add(words)
            kept.append(answer)
    return kept, dict(dropped)


def _words(answer: TeacherAnswer) -> ProfileText | None:
    try:
        return parse(answer.kind, answer.text)
    except NotAProfile:
        return None


def _copies(answer: TeacherAnswer, words: ProfileText) -> bool:
    if _INSTRUCTION.search(answer.text):
        return True
    titles = [f" {_folded(_YEAR.sub('', line.split(' | ')[0]))} " for line in answer.lines]
    phrases = [*words.identities, *words.interests]
    copied = [
        phrase
        for phrase in map(_folded, phrases)
        if " " in phrase and any(f" {phrase} " in title for title in titles)
    ]
    return 2 * len(copied) > len(phrases)


def _traces(words: ProfileText) -> set[frozenset[str]]:
    """Returns sets of phrases: two profiles have one in common if they differ in one phrase at most."""
    phrases = sorted({_folded(phrase) for phrase in (*words.identities, *words.interests)})
    return {frozenset(most) for most in combinations(phrases, len(phrases) - 1)}


def _folded(text: str) -> str:
    return " ".join(_WORDS.findall(text.casefold()))
