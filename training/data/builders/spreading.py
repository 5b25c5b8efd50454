"""Spreads a teacher's phrases to users whom the teacher never read.

A teacher writes some hundred profiles, each from a few titles. Here users with similar choices get the
same phrases: the vector of a phrase is the mean vector of the choices that its profiles were written
from, and a user gets the phrases farthest in the direction of the choices in the prompt. So every user
has a profile, from as many titles as the service shows and as a function of the prompt, and the teacher
is not asked again.

This is label propagation (Zhu and Ghahramani 2002) with the item vectors of PureSVD (Cremonesi, Koren
and Turrin 2010). The scales of the dimensions are made more equal: otherwise a few dimensions decide
nearly everything, and profiles are much alike. Measurements: docs/decisions/0015-spreading.md.
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

_DAMPING = 10.0
"""Added to the number of choices of each item, so that rare items do not get a large weight."""

_SHRINKAGE = 10.0
"""Added to the number of profiles of a phrase: the mean of a few profiles is shrunk to zero."""


@dataclass(frozen=True, slots=True)
class Spread:
    """The profiles, and the users without one.

    Attributes:
        kept: Profiles with the lines of their prompts, in the form of a teacher's answers.
        counts: Reason -> number of users left out, for every reason.
    """

    kept: Sequence[Kept]
    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class _Phrases:
    """Phrases of one kind, with their vectors, shape (phrases, d), and their content words."""

    texts: Sequence[str]
    vectors: Numbers
    words: Sequence[frozenset[str]]


class Spreader:
    """Finds the phrases of a teacher that fit the choices of a user.

    Args:
        kept: The teacher's profiles of users.
        histories: User -> items, from which the item vectors are computed.
        lines: Item -> its line in a prompt; empty without readable text.
        common: Least number of profiles that a phrase must occur in.
        dimensions: Most dimensions of an item vector.

    Raises:
        InstructionDataError: There are too few choices, or no line that the teacher read is an item
            that a user chose.
    """

    def __init__(
        self,
        kept: Sequence[Kept],
        histories: Mapping[str, Sequence[str]],
        lines: Mapping[str, str],
        *,
        common: int,
        dimensions: int,
    ) -> None:
        vectors = item_vectors(histories, dimensions=dimensions)
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
                f"no line that the teacher read, such as {kept[0].answer.lines[:1]}, is the text of "
                "an item that a user of the dataset chose"
            )
        self._identities = _phrases([row.words.identities for row in kept], read, common)
        self._interests = _phrases([row.words.interests for row in kept], read, common)

    @property
    def phrases(self) -> int:
        """Number of phrases to choose from."""
        return len(self._identities.texts) + len(self._interests.texts)

    def profile(self, shown: Iterable[str]) -> ProfileText | None:
        """Returns a user's profile; None where no item is known, or there are too few phrases.

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
        """Returns the direction of a user from the mean of all users; zero if no item is known."""
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
    """Draws users and choices of each, and writes their profiles.

    Args:
        spreader: The phrases.
        histories: User -> distinct items, oldest first. A prompt keeps this order.
        lines: Item -> its line in a prompt; empty without readable text.
        left_out: User -> reason to leave the user out.
        reading: The budget of a prompt; at most `max_items` choices are drawn.
        users: Most users.
        fewest: Least number of choices that are drawn. Their number is log-uniform: with 1, as many
            users have one or two choices as have seven to twenty.
        at_most: Most profiles that get the same phrase, as a share of `users`. An unsure model
            writes the most frequent phrases of its training rows, for everyone.
        seed: Random seed.
    """
    reasons = (
        *dict.fromkeys(left_out.values()),
        "too few choices",
        "nothing readable",
        "too few phrases",
        "phrase used enough",
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
                counts["too few phrases" if shown else "nothing readable"] += 1
                continue
            phrases = [phrase.casefold() for phrase in (*profile.identities, *profile.interests)]
            if any(said[phrase] >= at_most * users for phrase in phrases):
                counts["phrase used enough"] += 1
                continue
            said.update(phrases)
            answer = TeacherAnswer(
                kind="user", id=name, text=profile.text, lines=tuple(shown), source="spread"
            )
            kept.append(Kept(answer, profile))
    return Spread(kept, dict(counts))


def evaluation_profiles(spreader: Spreader, file: Path) -> Iterator[dict[str, str]]:
    """Yields profiles of the users of an evaluation, by the same phrases: id, kind and text.

    Args:
        spreader: The phrases.
        file: JSON lines; rows that are not of a user or have no prompt are ignored.

    Raises:
        InstructionDataError: A prompt is not a chat; the line is named.
    """
    for number, row in enumerate(read_lines(file), start=1):
        if row.get("kind") != "user" or "prompt" not in row:
            continue
        try:
            shown = row["prompt"][-1]["content"].splitlines()
        except (LookupError, TypeError, AttributeError) as error:
            raise InstructionDataError(f"{file}, line {number}: prompt is not a chat") from error
        profile = spreader.profile(line.removeprefix("- ") for line in shown)
        if profile is not None:
            yield {"id": row["id"], "kind": "user", "text": profile.text}


def item_vectors(histories: Mapping[str, Sequence[str]], *, dimensions: int) -> dict[str, Numbers]:
    """Returns a vector of each chosen item, by singular value decomposition of the choices.

    The first singular vector, which is popularity, is left out, so that the mean vector of a user's
    choices says how they differ from the popular ones.

    Args:
        histories: User -> distinct items.
        dimensions: Most dimensions of a vector.

    Raises:
        InstructionDataError: Fewer than three users or items.
    """
    items = sorted({item for history in histories.values() for item in history})
    place = {item: at for at, item in enumerate(items)}
    sizes = np.array([len(history) for history in histories.values() if history])
    columns = np.array([place[item] for history in histories.values() for item in history])
    if min(len(sizes), len(items)) < 3:
        raise InstructionDataError(
            f"{len(sizes)} users with {len(items)} items are too few to find similar choices"
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
    # A fixed starting vector makes the result deterministic.
    _, values, right = svds(matrix, k=rank, v0=np.ones(min(matrix.shape)))
    order = np.argsort(-values)[1:]
    vectors = right[order].T * values[order] * weights[:, None]
    return dict(zip(items, vectors, strict=True))


def _phrases(of: Sequence[Sequence[str]], read: Numbers, common: int) -> _Phrases:
    """Returns phrases with the shrunk mean of the directions of their profiles, without rare ones."""
    texts: dict[str, str] = {}
    positions: defaultdict[str, list[int]] = defaultdict(list)
    for at, phrases in enumerate(of):
        for phrase in phrases:
            texts.setdefault(phrase.casefold(), phrase)
            positions[phrase.casefold()].append(at)
    common_keys = [key for key in texts if len(positions[key]) >= common and stems(key)]
    vectors = [
        read[positions[key]].sum(axis=0) / (len(positions[key]) + _SHRINKAGE) for key in common_keys
    ]
    return _Phrases(
        [texts[key] for key in common_keys],
        np.stack(vectors) if vectors else np.zeros((0, read.shape[1])),
        [stems(key) for key in common_keys],
    )


def _nearest(phrases: _Phrases, direction: Numbers, used: set[str]) -> tuple[str, ...]:
    """Returns the phrases farthest in a direction that have no content word in common."""
    taken: list[str] = []
    for place in np.argsort(-(phrases.vectors @ direction), kind="stable"):
        if used.isdisjoint(phrases.words[place]):
            used |= phrases.words[place]
            taken.append(phrases.texts[place])
            if len(taken) == PHRASES["user"]:
                break
    return tuple(taken)


def _drawn(rng: np.random.Generator, fewest: int, most: int) -> int:
    """Draws a number whose logarithm is uniform: profiles matter most after the first choices."""
    return min(most, int(np.exp(rng.uniform(np.log(fewest), np.log(most + 1)))))


def _unit(rows: Numbers) -> Numbers:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(lengths, lengths, 1.0)
