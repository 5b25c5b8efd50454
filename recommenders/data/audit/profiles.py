"""Leaks of profiles: validation and test items in the profiles of users."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recommenders.data.errors import DatasetError
from recommenders.data.indexed import distinct

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray
    from scipy import sparse

    from recommenders.data.dataset import Dataset
    from recommenders.data.indexed import Indexed
    from recommenders.data.split import Split

_TOKEN = re.compile(r"\w+")
_BRACKETS = re.compile(r"\s*\([^()]*\)\s*$")
_ARTICLE = re.compile(r"^(.*), (the|a|an)$", re.IGNORECASE)
_SAMPLE = 20_000  # maximum number of pairs whose title is searched for
_NEAR = 25  # maximum distance in the order of popularity of a control item
_TRIES = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class ProfileLeaks:
    """What profiles of users reveal of their validation and test items.

    Attributes:
        profiles: Number of profiles of users in the file.
        new_users: Number of profiles of users who are not in the dataset.
        with_history: Number of profiles that list the items that they were made from.
        leaking: Number of profiles that list a relevant item of their user.
        leaked: Number of such items over all users.
        compared: Number of pairs of a user and a test item whose title has at least two words. Each
            has a control: an item of similar popularity that the user has not interacted with. At
            most 20,000, drawn.
        named: Number of these pairs whose profile names the test item.
        named_by_chance: Number of these pairs whose profile names the control.
        trained: Number of pairs of a user and a training item with such a title, at most 20,000.
        named_in_training: Number of these pairs whose profile names the item.
    """

    profiles: int
    new_users: int
    with_history: int
    leaking: int
    leaked: int
    compared: int
    named: int
    named_by_chance: int
    trained: int
    named_in_training: int

    def reasons(self) -> list[str]:
        """Returns the reasons why the profiles are not sound. Named titles are only a hint."""
        if not self.leaking:
            return []
        return [
            f"histories of {self.leaking:,} profiles list {self.leaked:,} validation or test items"
        ]


def find_profile_leaks(
    path: Path, split: Split, dataset: Dataset, indexed: Indexed, *, seed: int = 0
) -> ProfileLeaks:
    """Searches a file of profiles for validation and test items.

    Each line is an object with `id` and optionally `text` and `history`, a list of item ids or of
    objects with `id`. Lines whose `kind` is not `user` are ignored. The history of a cold user may
    hold only the user's known items.

    Raises:
        DatasetError: A line cannot be read; the message names it.
    """
    rows = {name: row for row, name in enumerate(indexed.user_ids)}
    texts: dict[int, str] = {}
    users: list[int] = []
    items: list[str] = []
    profiles = new_users = with_history = 0
    for name, text, history in read_users(path):
        profiles += 1
        row = rows.get(name)
        if row is None:
            new_users += 1
            continue
        texts[row] = text
        if history is not None:
            with_history += 1
            users += [row] * len(history)
            items += history
    relevant = _relevant(split)
    leaking, leaked = _listed(relevant, indexed, np.array(users, np.int64), items)
    titles = _Titles(texts, dataset, indexed, np.random.default_rng(seed))
    compared, tested, others = titles.with_controls(*titles.sample(*_test_pairs(split)))
    trained = titles.sample(*split.train.nonzero())
    return ProfileLeaks(
        profiles=profiles,
        new_users=new_users,
        with_history=with_history,
        leaking=leaking,
        leaked=leaked,
        compared=len(compared),
        named=titles.named(compared, tested),
        named_by_chance=titles.named(compared, others),
        trained=len(trained[0]),
        named_in_training=titles.named(*trained),
    )


def plain_title(title: str) -> str:
    """Normalises a title: lower case, no year, the article in front.

    >>> plain_title("Usual Suspects, The (1995)")
    'the usual suspects'
    """
    while (shorter := _BRACKETS.sub("", title)) not in (title, ""):
        title = shorter
    return _plain(_ARTICLE.sub(r"\2 \1", title))


def _plain(text: str) -> str:
    return " ".join(_TOKEN.findall(text.casefold()))


def read_users(path: Path) -> Iterator[tuple[str, str, list[str] | None]]:
    """Yields id, text and history of each profile of a user; the history is None if there is none.

    Raises:
        DatasetError: A line cannot be read; the message names it.
    """
    with path.open("rb") as file:
        for number, raw in enumerate(file, start=1):
            where = f"{path}, line {number}"
            try:
                value = json.loads(raw)
            except ValueError as error:
                raise DatasetError(f"{where}: not JSON: {error}") from error
            if not isinstance(value, dict) or not isinstance(value.get("id"), str):
                raise DatasetError(f"{where}: not an object with an id")
            if value.get("kind", "user") != "user":
                continue
            text, history = value.get("text", ""), value.get("history")
            if not isinstance(text, str):
                raise DatasetError(f"{where}: text is {text!r}, not a string")
            yield value["id"], text, None if history is None else _ids(history, where)


def _ids(history: object, where: str) -> list[str]:
    entries = history if isinstance(history, list) else [None]
    ids = [entry.get("id") if isinstance(entry, dict) else entry for entry in entries]
    known = [name for name in ids if isinstance(name, str)]
    if len(known) < len(ids):
        raise DatasetError(f"{where}: history is not a list of item ids or of objects with an id")
    return known


def _relevant(split: Split) -> sparse.csr_array:
    parts = [part.relevant for _, _, part in split.parts()]
    relevant = parts[0]
    for part in parts[1:]:
        relevant = relevant.maximum(part)
    return relevant


def _listed(
    relevant: sparse.csr_array, indexed: Indexed, users: NDArray[np.int64], names: list[str]
) -> tuple[int, int]:
    """Returns how many users have relevant items in their history, and the number of items."""
    found = pc.index_in(pa.array(names, pa.string()), value_set=pa.array(indexed.item_ids))
    items = np.asarray(found.fill_null(-1))
    users, items = users[items >= 0], items[items >= 0].astype(np.int64)
    pairs = distinct(users * indexed.shape[1] + items)
    wrong = pairs[_holds(relevant, pairs // indexed.shape[1], pairs % indexed.shape[1])]
    return len(np.unique(wrong // indexed.shape[1])), len(wrong)


class _Titles:
    """Searches profiles for titles."""

    def __init__(
        self,
        texts: dict[int, str],
        dataset: Dataset,
        indexed: Indexed,
        rng: np.random.Generator,
    ) -> None:
        raw: list[Any] = dataset.items["title"].to_pylist()
        self._titles = [plain_title(title) for title in raw]
        self._distinctive = np.array([" " in title for title in self._titles], np.bool_)
        self._texts = texts
        self._with_text = np.zeros(indexed.shape[0], np.bool_)
        self._with_text[[row for row, text in texts.items() if text]] = True
        self._indexed = indexed
        self._rng = rng

    def sample(
        self, users: NDArray[np.integer], items: NDArray[np.integer]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Draws pairs of users with a profile and items with a title of at least two words."""
        wanted = np.flatnonzero(self._with_text[users] & self._distinctive[items])
        wanted = wanted[np.argsort(self._rng.random(len(wanted)), kind="stable")[:_SAMPLE]]
        return users[wanted].astype(np.int64), items[wanted].astype(np.int64)

    def with_controls(
        self, users: NDArray[np.int64], items: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Returns the pairs, each with a control item of similar popularity.

        The user has not interacted with the control item. Pairs for which a few tries find none are
        left out.
        """
        popularity = np.bincount(self._indexed.items, minlength=self._indexed.shape[1])
        distinctive = np.flatnonzero(self._distinctive)
        order = distinctive[np.argsort(-popularity[distinctive], kind="stable")]
        place = np.zeros(self._indexed.shape[1], np.int64)
        place[order] = np.arange(len(order))
        chosen = self._indexed.matrix()
        others = np.full(len(users), -1)
        for _ in range(_TRIES):
            step = self._rng.integers(1, _NEAR + 1, len(users))
            at = place[items] + step * self._rng.choice([-1, 1], len(users))
            inside = (at >= 0) & (at < len(order))
            found = order[np.where(inside, at, 0)]
            free = (others < 0) & inside & ~_holds(chosen, users, found)
            others[free] = found[free]
        met = others >= 0
        return users[met], items[met], others[met]

    def named(self, users: NDArray[np.int64], items: NDArray[np.int64]) -> int:
        """Returns the number of pairs whose profile names the item."""
        texts = {row: f" {_plain(self._texts[row])} " for row in np.unique(users).tolist()}
        return sum(
            f" {self._titles[item]} " in texts[user]
            for user, item in zip(users.tolist(), items.tolist(), strict=True)
        )


def _test_pairs(split: Split) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    keys = [np.empty(0, np.int64)]
    width = split.train.shape[1]
    for _, name, part in split.parts():
        if name == "test":
            rows, columns = part.relevant.nonzero()
            keys.append(rows.astype(np.int64) * width + columns)
    pairs = distinct(np.concatenate(keys))
    return pairs // width, pairs % width


def _holds(
    matrix: sparse.csr_array, users: NDArray[np.int64], items: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Returns a mask of the pairs that a matrix contains."""
    if not len(users):
        return np.zeros(0, np.bool_)
    return np.asarray(matrix[users, items]).ravel() > 0
