"""Builds what the model reads for a request: looks items up, cuts them to the budget, hashes them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

from services.profiles.domain.profile import PHRASES, Item, ProfileText, canonical_hash
from services.profiles.errors import NothingToRead, UnknownItems
from services.profiles.generation.grammar import is_phrase
from services.profiles.generation.prompts.item_text import as_data, item_line
from services.profiles.generation.token_budget import first_that_fit
from services.profiles.stores.item_changes import marks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from services.profiles.domain.profile import Kind, Message
    from services.profiles.domain.requests import ProfileRequest
    from services.profiles.generation.prompts.base import PromptVersion
    from services.profiles.generation.token_budget import TokenCounter
    from services.profiles.stores.base import Catalogue

_MOST_CATEGORIES = 1000
"""Different names of categories that are looked at, the most frequent."""

_LONG_NAME = 200

_PADDING: dict[Kind, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "user": (
        ("new visitor", "occasional chooser", "open to suggestions"),
        ("varied choices", "popular titles", "new discoveries"),
    ),
    "item": (
        ("general audience", "curious newcomer", "occasional chooser", "casual fan", "collector"),
        ("varied choices", "popular titles", "new discoveries", "similar items", "same category"),
    ),
}


@dataclass(frozen=True, slots=True)
class PromptInput:
    """What the model reads for one profile, whatever the version of the prompt.

    Attributes:
        lines: The lines of the history that fit into the budget, oldest first.
        subject: The line of the item itself, for an item's profile.
        hash: 16 bytes over the kind, the subject and the lines.
        stamp: The last change of the catalogue that was known before its texts were read.
        marks: Of the items of the catalogue whose texts decide what the lines are.
    """

    kind: Kind
    lines: tuple[str, ...]
    subject: str | None
    hash: bytes
    stamp: int = 0
    marks: bytes = b""

    def messages(self, prompt: PromptVersion, *, examples: bool) -> list[Message]:
        """Returns the chat that a version of the prompt makes of this."""
        if self.subject is None:
            return prompt.user_messages(self.lines, examples=examples)
        return prompt.item_messages(self.subject, self.lines, examples=examples)


def degraded_text(kind: Kind, categories: Sequence[str]) -> ProfileText:
    """Returns a profile that says no more than that somebody chooses these categories."""
    names = categories[: PHRASES[kind]]
    identities, interests = _PADDING[kind]
    wanted = PHRASES[kind]
    return ProfileText(
        kind,
        (*(f"interested in {name}" for name in names), *identities)[:wanted],
        (*names, *interests)[:wanted],
    )


class Material:
    """What a request refers to, looked up, and not yet cut to the model's budget.

    To write the lines and to count their tokens takes longer than all else that is done for an
    answer without the model, so it is left until the model is to be asked.

    Attributes:
        categories: Categories of the whole history, the most frequent first.
    """

    def __init__(
        self,
        *,
        kind: Kind,
        history: Sequence[str | Item],
        found: Mapping[str, Item],
        own: str | None,
        subject: str | None,
        categories: tuple[str, ...],
        stamp: int,
        count: TokenCounter,
        budget: int,
    ) -> None:
        self.categories = categories
        self._kind: Kind = kind
        self._history = history
        self._found = found
        self._own = own
        self._subject = subject
        self._stamp = stamp
        self._count = count
        self._budget = budget

    @property
    def readable(self) -> bool:
        """Whether there is anything that the model could read."""
        return bool(self._subject) or any(line for _, line in self._newest())

    @cached_property
    def prompt_input(self) -> PromptInput:
        """What the model reads."""
        # Most histories are longer than what is read of them, and only that is made into lines.
        looked_at: list[tuple[str, str]] = []
        lines = _noted(self._newest(), looked_at)
        cut = tuple(first_that_fit(lines, self._budget, self._count)[::-1])
        subject = self._subject
        if subject is not None:
            (subject,) = first_that_fit([subject], self._budget, self._count)
        own = [] if self._own is None else [self._own]
        return PromptInput(
            kind=self._kind,
            lines=cut,
            subject=subject,
            hash=canonical_hash([self._kind, subject or "", *cut], size=16),
            stamp=self._stamp,
            marks=marks(own + _deciding(looked_at, len(cut))),
        )

    def _newest(self) -> Iterator[tuple[str, str]]:
        """Yields entries of the history with their lines, newest first.

        Each has its id, empty if it is inline, and its line, empty if it has none.
        """
        for entry in reversed(self._history):
            item = self._found.get(entry) if isinstance(entry, str) else entry
            line = "" if item is None else item_line(item)
            yield (entry if isinstance(entry, str) else ""), line


class PromptBuilder:
    """Builds the input of the prompt for requests of one tenant.

    Args:
        catalogue: Where item ids are looked up.
        tenant: Whose items they are.
        count: The model's token counter.
        history_tokens: Most tokens of history, list marks included.
        stamp: Returns the last change of the catalogue that is known.
    """

    def __init__(
        self,
        *,
        catalogue: Catalogue,
        tenant: str,
        count: TokenCounter,
        history_tokens: int,
        stamp: Callable[[], int] = lambda: 0,
    ) -> None:
        self._catalogue = catalogue
        self._tenant = tenant
        self._count = count
        self._history_tokens = history_tokens
        self._stamp = stamp

    async def build(self, request: ProfileRequest) -> PromptInput:
        """Returns what the model reads for a request. Raises what `collect` raises."""
        return (await self.collect(request)).prompt_input

    async def collect(self, request: ProfileRequest) -> Material:
        """Looks up what a request refers to.

        Raises:
            UnknownItems: The catalogue lacks some of the ids, and the request is not lenient.
            NothingToRead: There is no history, or no readable text in it.
        """
        kind = request.key.kind
        # Before the texts: what changes while they are read counts as a later change.
        stamp = self._stamp()
        ids = [entry for entry in request.history if isinstance(entry, str)]
        own = kind == "item" and request.item is None
        strict = not (request.stored or request.lenient)
        found = await self._look_up([*ids, request.key.id] if own else ids, strict=strict)
        history = [
            found[entry] if isinstance(entry, str) else entry
            for entry in request.history
            if not isinstance(entry, str) or entry in found
        ]
        subject = (found.get(request.key.id) if own else request.item) if kind == "item" else None

        material = Material(
            kind=kind,
            history=request.history,
            found=found,
            own=request.key.id if own else None,
            subject=None if subject is None else item_line(subject),
            categories=_frequent(history if subject is None else [subject, *history]),
            stamp=stamp,
            count=self._count,
            budget=self._history_tokens,
        )
        if not material.readable:
            raise NothingToRead(
                "there is no profile under this id yet, and nothing to make one from: "
                "send `history` with at least one item that has a readable title"
            )
        return material

    async def _look_up(self, ids: list[str], *, strict: bool) -> dict[str, Item]:
        distinct = list(dict.fromkeys(ids))
        items = await self._catalogue.get_items(self._tenant, distinct)
        unknown = [id_ for id_, item in zip(distinct, items, strict=True) if item is None]
        if unknown and strict:
            raise UnknownItems(unknown)
        return {item.id: item for item in items if item is not None}


def _noted(entries: Iterable[tuple[str, str]], looked_at: list[tuple[str, str]]) -> Iterator[str]:
    """Yields the lines of entries that have one; notes every entry that is passed on the way."""
    for entry in entries:
        looked_at.append(entry)
        if entry[1]:
            yield entry[1]


def _deciding(newest: Sequence[tuple[str, str]], read: int) -> list[str]:
    """Returns the ids of entries whose texts decide which lines are read.

    These are the entries that were read, those between them without a line, and the first one that
    did not fit: with a shorter text it would.

    Args:
        newest: Entries with their lines, newest first.
        read: How many lines were read.
    """
    ids = []
    for id_, line in newest:
        if id_:
            ids.append(id_)
        if line:
            read -= 1
            if read < 0:
                break
    return ids


def _frequent(items: Iterable[Item]) -> tuple[str, ...]:
    """Returns category names as phrases, the most frequent first, ties in order of appearance."""
    given = Counter(
        name.strip()
        for item in items
        for name in item.category.replace("|", ",").replace(";", ",").split(",")
    )
    if len(given) > _MOST_CATEGORIES:
        # No honest history has so many; a hostile one has a hundred thousand.
        given = Counter(dict(given.most_common(_MOST_CATEGORIES)))
    names: Counter[str] = Counter()
    for name, count in given.items():
        names[_phrase(name)] += count
    return tuple(name for name, _ in names.most_common() if name)


def _phrase(name: str) -> str:
    """Returns the name of a category as a phrase, empty if it is none."""
    return _kept_phrase(name) if len(name) <= _LONG_NAME else _phrase_of(name)


def _phrase_of(name: str) -> str:
    phrase = as_data(name)[:40].rstrip()
    return phrase if is_phrase(phrase) else ""


_kept_phrase = lru_cache(maxsize=4096)(_phrase_of)
"""For names as catalogues have them: the same few are in all histories."""
