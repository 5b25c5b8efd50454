"""Spreads a teacher's phrases to users it never read.

A teacher is asked for some hundred profiles, of the few titles that its prompt had room for. Who
chose alike gets the same phrases here: a phrase stands where the choices stand that its profiles
were written of, and a user gets the phrases that lie in the direction of the choices shown. So there
is a profile for as many users as choose anything, of as many titles as serving shows, each a function
of what its prompt shows, and the teacher is not asked again.

It is label propagation (Zhu and Ghahramani 2002) by the item vectors of PureSVD (Cremonesi, Koren
and Turrin 2010), whose dimensions are brought nearer to one spread: else a few say nearly all, and
profiles are much the same. What that is worth: docs/decisions/0015-spreading.md.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import svds

from services.profiles.domain.profile import PHRASES, ProfileText
from training.data.errors import InstructionDataError
from training.data.filters.answers import Kept
from training.data.folder import read_lines
from training.data.teacher.answers import TeacherAnswer
from training.rewards.rules import is_well_formed, stems

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from training.data.builders.distillation import Reading

    Numbers = NDArray[np.float64]

DIMENSIONS = 16
_DAMPING = 10.0
"""Choices added to each item's, so that what three people chose does not weigh as a favourite."""

_SHRINKAGE = 10.0
"""Profiles without direction added to those that have a phrase: one alone says little of it."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Profiles to learn from, and why some users have none.

    Attributes:
        kept: As if a teacher had read the lines and written them.
        counts: Reason -> number of users left out, every reason named.
    """

    kept: Sequence[Kept]
    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class _Phrases:
    """Phrases of one kind with their vectors, shape (phrases, d), and their telling words."""

    texts: Sequence[str]
    vectors: Numbers
    words: Sequence[frozenset[str]]


class Spreader:
    """Says which of a teacher's phrases fit somebody who chose these items.

    Args:
        kept: The teacher's profiles of users.
        histories: User -> items, from which it is learnt who chooses alike.
        lines: Item -> its line in a prompt; empty where there is nothing readable.
        common: Profiles that a phrase must stand in at least.

    Raises:
        InstructionDataError: There are too few choices, or none is of what the teacher read.
    """

    def __init__(
        self,
        kept: Sequence[Kept],
        histories: Mapping[str, Sequence[str]],
        lines: Mapping[str, str],
        *,
        common: int,
    ) -> None:
        vectors = item_vectors(histories)
        self._vectors: dict[str, Numbers] = {}
        for item, vector in vectors.items():
            self._vectors.setdefault(lines[item], vector)
        means = [
            np.mean([vectors[item] for item in row], axis=0) for row in histories.values() if row
        ]
        directions = _unit(np.stack(means))
        self._centre = directions.mean(axis=0)
        widths = directions.std(axis=0)
        self._scale = 1 / np.sqrt(np.where(widths, widths, 1.0))
        read = np.stack([self._direction(row.answer.lines) for row in kept])
        if not read.any():
            raise InstructionDataError(
                f"nothing that the teacher read, such as {kept[0].answer.lines[:1]}, is the text "
                "of an item that a user of the dataset chose"
            )
        self._identities = _phrases([row.words.identities for row in kept], read, common)
        self._interests = _phrases([row.words.interests for row in kept], read, common)

    @property
    def phrases(self) -> int:
        """How many there are to choose among."""
        return len(self._identities.texts) + len(self._interests.texts)

    def profile(self, shown: Iterable[str]) -> ProfileText | None:
        """Returns a user's profile; None where nothing is known of the items, or phrases lack.

        Args:
            shown: Lines of the user's items.
        """
        direction = self._direction(shown)
        if not direction.any():
            return None
        used: set[str] = set()
        identities = _nearest(self._identities, direction, used)
        interests = _nearest(self._interests, direction, used)
        profile = ProfileText("user", identities, interests)
        return profile if is_well_formed("user", profile.text) else None

    def _direction(self, shown: Iterable[str]) -> Numbers:
        """Returns where somebody stands, seen from the middle of all; zero if nobody knows."""
        vectors = [self._vectors[line] for line in shown if line in self._vectors]
        if not vectors:
            return np.zeros_like(self._centre)
        (own,) = _unit(np.mean(vectors, axis=0)[None])
        direction: Numbers = (own - self._centre) * self._scale
        return direction


def spread_profiles(
    spreader: Spreader,
    histories: Mapping[str, Sequence[str]],
    lines: Mapping[str, str],
    left_out: Mapping[str, str],
    reading: Reading,
    *,
    users: int,
    fewest: int,
    at_most: float,
    seed: int,
) -> Spread:
    """Draws users, shows a draw of each one's choices, and writes their profiles.

    Args:
        spreader: Whose phrases.
        histories: User -> different items, oldest first. What is shown keeps that order.
        lines: Item -> its line in a prompt; empty where there is nothing readable.
        left_out: User -> why no row is to be of that one.
        reading: At most `max_items` of each user's choices are shown.
        users: Most of them.
        fewest: Choices that are drawn at least; from one up, as many users have one or
            two as have seven to twenty.
        at_most: Share of `users` to whom a phrase is given. A model that is unsure says what most
            of its rows said, and so much the same of everyone.
        seed: Another seed draws others.
    """
    reasons = (
        *dict.fromkeys(left_out.values()),
        "too few choices",
        "nothing readable",
        "nothing fits",
        "said of enough",
        "not drawn",
    )
    said: Counter[str] = Counter()
    counts = Counter(dict.fromkeys(reasons, 0))
    kept: list[Kept] = []
    rng = np.random.default_rng(seed)
    names = sorted(histories)
    for name in (names[place] for place in rng.permutation(len(names))):
        history = histories[name]
        if name in left_out:
            counts[left_out[name]] += 1
        elif len(history) < fewest:
            counts["too few choices"] += 1
        elif len(kept) == users:
            counts["not drawn"] += 1
        else:
            size = _drawn(rng, fewest, min(len(history), reading.max_items))
            positions = sorted(rng.choice(len(history), size, replace=False).tolist())
            shown = reading.cut([lines[history[place]] for place in positions])
            profile = spreader.profile(shown)
            if profile is None:
                counts["nothing fits" if shown else "nothing readable"] += 1
                continue
            phrases = [phrase.casefold() for phrase in (*profile.identities, *profile.interests)]
            if any(said[phrase] >= at_most * users for phrase in phrases):
                counts["said of enough"] += 1
                continue
            said.update(phrases)
            answer = TeacherAnswer(
                kind="user", id=name, text=profile.text, lines=tuple(shown), source="spread"
            )
            kept.append(Kept(answer, profile))
    return Spread(kept, dict(counts))


def evaluation_profiles(spreader: Spreader, file: Path) -> Iterator[dict[str, str]]:
    """Yields id, kind and text of what would be written of those who will be judged.

    Args:
        spreader: Whose phrases.
        file: JSON lines; the users among them that have a prompt.

    Raises:
        InstructionDataError: A prompt is no chat; the line is named.
    """
    for number, row in enumerate(read_lines(file), start=1):
        if row.get("kind") != "user" or "prompt" not in row:
            continue
        try:
            shown = row["prompt"][-1]["content"].splitlines()
        except (LookupError, TypeError, AttributeError) as error:
            raise InstructionDataError(f"{file}, line {number}: prompt is no chat") from error
        profile = spreader.profile(line.removeprefix("- ") for line in shown)
        if profile is not None:
            yield {"id": row["id"], "kind": "user", "text": profile.text}


def item_vectors(
    histories: Mapping[str, Sequence[str]], *, dimensions: int = DIMENSIONS
) -> dict[str, Numbers]:
    """Returns a vector of each item that anybody chose, by who chose it with what.

    The mean of those of a user's choices says what is particular in them: the first singular
    vector, which is popularity, is left out.

    Args:
        histories: User -> different items.
        dimensions: Of a vector, at most.

    Raises:
        InstructionDataError: Fewer than three users or items.
    """
    items = sorted({item for history in histories.values() for item in history})
    place = {item: at for at, item in enumerate(items)}
    sizes = np.array([len(history) for history in histories.values() if history])
    columns = np.array([place[item] for history in histories.values() for item in history])
    if min(len(sizes), len(items)) < 3:
        raise InstructionDataError(
            f"{len(sizes)} users with {len(items)} items are too few to say who chose alike"
        )
    weights = 1 / np.sqrt(np.bincount(columns, minlength=len(items)) + _DAMPING)
    matrix = sparse.csr_matrix(
        (
            weights[columns] / np.sqrt(np.repeat(sizes, sizes)),
            columns,
            np.concatenate([[0], np.cumsum(sizes)]),
        ),
        shape=(len(sizes), len(items)),
    )
    rank = min(dimensions + 1, *(side - 1 for side in matrix.shape))
    # A start of its own makes the same vectors of the same data.
    _, values, right = svds(matrix, k=rank, v0=np.ones(min(matrix.shape)))
    order = np.argsort(-values)[1:]
    vectors = right[order].T * values[order] * weights[:, None]
    return dict(zip(items, vectors, strict=True))


def _phrases(of: Sequence[Sequence[str]], read: Numbers, common: int) -> _Phrases:
    """Puts phrases where the profiles are that have them; rare and empty ones are left out."""
    texts: dict[str, str] = {}
    positions: defaultdict[str, list[int]] = defaultdict(list)
    for at, phrases in enumerate(of):
        for phrase in phrases:
            texts.setdefault(phrase.casefold(), phrase)
            positions[phrase.casefold()].append(at)
    told = [key for key in texts if len(positions[key]) >= common and stems(key)]
    vectors = [
        read[positions[key]].sum(axis=0) / (len(positions[key]) + _SHRINKAGE) for key in told
    ]
    return _Phrases(
        [texts[key] for key in told],
        np.stack(vectors) if vectors else np.zeros((0, read.shape[1])),
        [stems(key) for key in told],
    )


def _nearest(phrases: _Phrases, direction: Numbers, used: set[str]) -> tuple[str, ...]:
    """Takes the phrases farthest in a direction that have no telling word in common."""
    taken: list[str] = []
    for place in np.argsort(-(phrases.vectors @ direction), kind="stable"):
        if used.isdisjoint(phrases.words[place]):
            used |= phrases.words[place]
            taken.append(phrases.texts[place])
            if len(taken) == PHRASES["user"]:
                break
    return tuple(taken)


def _drawn(rng: np.random.Generator, fewest: int, most: int) -> int:
    """Draws a number whose logarithm is uniform: the first choices are what a profile is for."""
    return min(most, int(np.exp(rng.uniform(np.log(fewest), np.log(most + 1)))))


def _unit(rows: Numbers) -> Numbers:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(lengths, lengths, 1.0)
