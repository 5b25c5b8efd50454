"""Evaluation of models by their profiles: measures by rules and by the profiles' vectors."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from training.evaluation.vectors import (
    Likeness,
    Retrieval,
    against,
    beyond_popularity,
    likenesses,
    recalls,
)
from training.evaluation.writers import BASELINES, Written
from training.rewards.rules import (
    grounded_share,
    is_well_formed,
    read_profile,
    similarities,
    similarity,
    stems,
)
from training.runs.progress import ProgressReporter, ignore

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from services.profiles.domain.profile import ProfileText
    from training.evaluation.behaviour import Behaviour
    from training.evaluation.writers import HeldOut, Writer

    Encode = Callable[[Sequence[str]], NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Measures of a model's answers. Shares are of all answers, malformed ones included.

    Attributes:
        well_formed: Share of answers that are profiles without repair.
        distinct: Share of distinct texts.
        distinct_phrases: Share of distinct phrases among all phrases of the parsed answers.
        grounded: Mean share of phrases with a content word of the prompt; 0 for other answers.
        copied: Share of answers with a phrase that occurs literally in the prompt.
        sameness: Mean similarity of an answer to the most similar other answer.
        to_teacher: Mean similarity to the teacher's profile; None without a teacher.
        cosine_to_teacher: Mean cosine to the teacher's profile.
        cosine_to_similar: Mean cosine to the profiles of users or items with similar choices.
        cosine_to_others: Mean cosine to all other profiles. Close to `cosine_to_similar`: profiles do
            not reflect similar choices. Both high: all profiles are alike.
        retrieval: Recall@20 of a user's hidden choices by the profile.
        beyond_popularity: Difference of `retrieval` to that of a ranking by popularity.
        margin: Margin of error of `beyond_popularity`, half of the 95 % confidence interval.
        tokens: Mean tokens of an answer; None for answers from a file.
        seconds: Time of all answers; None for answers from a file.

    Measures of vectors are None without an encoder, those of hidden choices without a dataset.
    """

    well_formed: float
    distinct: float
    distinct_phrases: float
    grounded: float
    copied: float
    sameness: float
    to_teacher: float | None
    cosine_to_teacher: float | None
    cosine_to_similar: float | None
    cosine_to_others: float | None
    retrieval: float | None
    beyond_popularity: float | None
    margin: float | None
    tokens: float | None
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Answers of models and their evaluation, by name, in the order of the models.

    Attributes:
        evaluations: Evaluation of every model and of the baselines.
        answers: Answer to each prompt.
        gains: Retrieval of every model but the first, compared with the first one's user by user.
            Empty without an encoder or a dataset.
    """

    evaluations: Mapping[str, Evaluation]
    answers: Mapping[str, Sequence[str]]
    gains: Mapping[str, Retrieval]


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """Profiles as vectors.

    Attributes:
        vectors: Vectors of a model's answers, (n, d).
        teacher: Vectors of the teacher's profiles, (n, d); zero without one.
        found: Recall of each user with hidden choices; None without a dataset.
    """

    vectors: NDArray[np.float32]
    teacher: NDArray[np.float32]
    found: NDArray[np.float64] | None


def compare(
    writers: dict[str, Writer],
    rows: Sequence[HeldOut],
    *,
    tokens: int = 96,
    encode: Encode | None = None,
    behaviour: Behaviour | None = None,
    progress: Callable[[str], object] = ignore,
) -> Comparison:
    """Generates the answers of each model to all prompts, and evaluates them.

    The baselines are the teacher, if all rows have its profile, and `categories`: profiles of the most
    frequent categories in each prompt, which no model should be worse than.

    Args:
        writers: Models by name; the others are compared with the first one.
        rows: The prompts.
        tokens: Most tokens of an answer.
        encode: Returns unit vectors of n texts, (n, d).
        behaviour: Similar rows and hidden choices, from a dataset.
        progress: Called with lines of progress.
    """
    written = {
        name: write(
            rows, tokens=tokens, done=ProgressReporter(progress, f"{name}: answer", len(rows)).at
        )
        for name, write in writers.items()
    }
    teachers = [row.teacher_text or "" for row in rows]
    by_teacher, by_categories = BASELINES
    if all(teachers):
        written[by_teacher] = Written(teachers)
    written[by_categories] = Written([_categories(row) for row in rows])
    seen: dict[str, Seen] = {}
    if encode is not None:
        teacher = encode(teachers)
        for name, one in written.items():
            vectors = encode(_as_read(rows, one.texts))
            found = None if behaviour is None else recalls(vectors, behaviour)
            seen[name] = Seen(vectors, teacher, found)
    return Comparison(
        evaluations={
            name: evaluate(rows, one, seen=seen.get(name), behaviour=behaviour)
            for name, one in written.items()
        },
        answers={name: one.texts for name, one in written.items()},
        gains=_gains(list(writers), seen),
    )


def _gains(models: Sequence[str], seen: Mapping[str, Seen]) -> dict[str, Retrieval]:
    """Compares every model with the first one."""
    found = {name: seen[name].found for name in models if name in seen}
    base = found.pop(models[0], None) if models else None
    return {
        name: against(one, base)
        for name, one in found.items()
        if one is not None and base is not None
    }


def evaluate(
    rows: Sequence[HeldOut],
    written: Written,
    *,
    seen: Seen | None = None,
    behaviour: Behaviour | None = None,
) -> Evaluation:
    """Evaluates the answers to prompts."""
    answers = written.texts
    profiles = [read_profile(row.kind, answer) for row, answer in zip(rows, answers, strict=True)]
    phrases = [phrase.casefold() for found in profiles if found for phrase in _phrases(found)]
    read = [row.prompt[-1].content for row in rows]
    count = len(rows)
    whole = sum(is_well_formed(row.kind, text) for row, text in zip(rows, answers, strict=True))
    grounds = [grounded_share(one, [text]) for one, text in zip(profiles, read, strict=True) if one]
    copies = [_copies(one, text) for one, text in zip(profiles, read, strict=True) if one]
    same = similarities(answers)
    to_teacher = [
        similarity(answer, [row.teacher_text])
        for row, answer in zip(rows, answers, strict=True)
        if row.teacher_text
    ]
    likes: Likeness | None = None
    found: Retrieval | None = None
    if seen is not None:
        likes = likenesses(seen.vectors, seen.teacher, behaviour)
        if behaviour is not None and seen.found is not None:
            found = beyond_popularity(seen.found, behaviour)
    return Evaluation(
        well_formed=whole / count,
        distinct=len(set(answers)) / count,
        distinct_phrases=len(set(phrases)) / len(phrases) if phrases else 0.0,
        grounded=sum(grounds) / count,
        copied=sum(copies) / count,
        sameness=sum(same) / count,
        to_teacher=sum(to_teacher) / len(to_teacher) if to_teacher else None,
        cosine_to_teacher=None if likes is None else likes.teacher,
        cosine_to_similar=None if likes is None else likes.similar,
        cosine_to_others=None if likes is None else likes.others,
        retrieval=None if found is None else found.recall,
        beyond_popularity=None if found is None else found.beyond,
        margin=None if found is None else found.margin,
        tokens=None if written.tokens is None else written.tokens / count,
        seconds=written.seconds,
    )


def _as_read(rows: Sequence[HeldOut], answers: Sequence[str]) -> list[str]:
    """Returns the repaired profiles; an answer that is not a profile stays as it is."""
    profiles = [read_profile(row.kind, text) for row, text in zip(rows, answers, strict=True)]
    return [one.text if one else text for one, text in zip(profiles, answers, strict=True)]


def _phrases(profile: ProfileText) -> tuple[str, ...]:
    return (*profile.identities, *profile.interests)


def _copies(profile: ProfileText, read: str) -> bool:
    there = read.casefold()
    return any(phrase.casefold() in there for phrase in _phrases(profile) if len(stems(phrase)) > 1)


def _categories(row: HeldOut) -> str:
    """Returns a profile of the most frequent categories of a prompt's items."""
    wanted = 3 if row.kind == "user" else 5
    counts = Counter(
        part.strip().casefold()
        for line in row.prompt[-1].content.splitlines()
        if line.startswith("- ")
        for part in line.split(" | ")[1:2]
        for part in part.split(",")
        if part.strip()
    )
    top = [name for name, _ in counts.most_common(wanted)]
    top += [f"other item {number}" for number in range(1, wanted - len(top) + 1)]
    name = row.kind.capitalize()
    identities = ", ".join(f"{category} viewer" for category in top)
    interests = ", ".join(f"{category} titles" for category in top)
    return f"{name} identity: {identities}; {name} interests: {interests}."
