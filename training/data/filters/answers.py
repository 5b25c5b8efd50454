"""Keeps from a teacher's answers what a model should learn, and counts what it drops and why."""

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
    """An answer with its words, read and repaired."""

    answer: TeacherAnswer
    words: ProfileText


@dataclass(frozen=True, slots=True)
class FilteredAnswers:
    """What is left of a teacher's answers.

    Attributes:
        kept: In the order of the answers.
        dropped: Reason -> number of answers, every reason named.
        undecodable: Of `kept`: those that the service's constrained decoding could not write.
    """

    kept: Sequence[Kept]
    dropped: Mapping[str, int]
    undecodable: int


def filter_answers(answers: Iterable[TeacherAnswer], *, strict: bool = False) -> FilteredAnswers:
    """Drops what is no profile, says nothing, or was there before.

    An answer is dropped for the first of these that holds:

    - *placeholder*: it fills the form with its own names ("Identity 1").
    - *malformed*: it cannot be read as a profile.
    - *undecodable*, where `strict`: `grammar.pattern`, which decoding is held to, does not admit
      it, most often for phrases of one word.
    - *copies the prompt*: it repeats the instruction, or more than half of its phrases, of two
      words and more, stand word for word in a title that the teacher read.
    - *repeated id*: an answer for this user or item has been kept.
    - *near-duplicate*: all phrases but one, at most, are those of an answer that has been kept.

    Args:
        answers: What a teacher wrote.
        strict: Keep only what constrained decoding can write.
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
    """Sifts answers that are paragraphs, and so have no form that could be wrong.

    Returns:
        What is kept, and reason -> number of answers dropped: *empty*, *copies the prompt* where
        it repeats the instruction, *repeated id*, and *near-duplicate* where its words are those
        of an answer that has been kept.
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
    """Returns what two profiles share exactly when they differ in one phrase at most."""
    phrases = sorted({_folded(phrase) for phrase in (*words.identities, *words.interests)})
    return {frozenset(most) for most in combinations(phrases, len(phrases) - 1)}


def _folded(text: str) -> str:
    return " ".join(_WORDS.findall(text.casefold()))
