"""Builds what the model reads for a request: looks items up, cuts them to the budget, hashes them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
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
        categories: Categories of the whole history, the most frequent first.
        hash: 16 bytes over the kind, the subject and the lines.
        stamp: The last change of the catalogue that was known before its texts were read.
        marks: Of the items of the catalogue whose texts decide what the lines are.
    """

    kind: Kind
    lines: tuple[str, ...]
    subject: str | None
    categories: tuple[str, ...]
    hash: bytes
    stamp: int = 0
    marks: bytes = b""

    def messages(self, prompt: PromptVersion, *, examples: bool) -> list[Message]:
        """Returns the chat that a version of the prompt makes of this."""
        if self.subject is None:
            return prompt.user_messages(self.lines, examples=examples)
        return prompt.item_messages(self.subject, self.lines, examples=examples)

    def degraded(self) -> ProfileText:
        """Returns a profile made without the model, from categories alone."""
        names = self.categories[: PHRASES[self.kind]]
        identities, interests = _PADDING[self.kind]
        wanted = PHRASES[self.kind]
        return ProfileText(
            self.kind,
            (*(f"interested in {name}" for name in names), *identities)[:wanted],
            (*names, *interests)[:wanted],
        )


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
        """Looks up what a request refers to, and cuts it to the budget.

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

        # Most histories are longer than what is read of them, and only that is made into lines.
        looked_at: list[tuple[str, str]] = []
        lines = _noted(self._newest(request.history, found), looked_at)
        cut = tuple(first_that_fit(lines, self._history_tokens, self._count)[::-1])
        subject_line = None
        if subject is not None:
            (subject_line,) = first_that_fit(
                [item_line(subject)], self._history_tokens, self._count
            )
        if not (subject_line or cut):
            raise NothingToRead(
                "there is no profile under this id yet, and nothing to make one from: "
                "send `history` with at least one item that has a readable title"
            )
        return PromptInput(
            kind=kind,
            lines=cut,
            subject=subject_line,
            categories=_frequent(history if subject is None else [subject, *history]),
            hash=canonical_hash([kind, subject_line or "", *cut], size=16),
            stamp=stamp,
            marks=marks(([request.key.id] if own else []) + _deciding(looked_at, len(cut))),
        )

    def _newest(
        self, history: Sequence[str | Item], found: Mapping[str, Item]
    ) -> Iterator[tuple[str, str]]:
        """Yields entries of a history with their lines, newest first.

        Each has its id, empty if it is inline, and its line, empty if it has none.
        """
        for entry in reversed(history):
            item = found.get(entry) if isinstance(entry, str) else entry
            line = "" if item is None else item_line(item)
            yield (entry if isinstance(entry, str) else ""), line

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
        names[as_data(name)[:40].rstrip()] += count
    return tuple(name for name, _ in names.most_common() if is_phrase(name))
