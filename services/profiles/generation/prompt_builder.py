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
from services.profiles.generation.token_budget import newest_that_fit

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from services.profiles.domain.profile import Kind, Message
    from services.profiles.domain.requests import ProfileRequest
    from services.profiles.generation.prompts.base import PromptVersion
    from services.profiles.generation.token_budget import TokenCounter
    from services.profiles.stores.base import Catalogue

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
    """

    kind: Kind
    lines: tuple[str, ...]
    subject: str | None
    hash: bytes

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
        history: Sequence[Item],
        subject: str | None,
        categories: tuple[str, ...],
        count: TokenCounter,
        budget: int,
    ) -> None:
        self.categories = categories
        self._kind: Kind = kind
        self._history = history
        self._subject = subject
        self._count = count
        self._budget = budget

    @cached_property
    def prompt_input(self) -> PromptInput:
        """What the model reads."""
        lines = [line for item in self._history if (line := item_line(item))]
        cut = tuple(newest_that_fit(lines, self._budget, self._count))
        subject = self._subject
        if subject is not None:
            (subject,) = newest_that_fit([subject], self._budget, self._count)
        return PromptInput(
            kind=self._kind,
            lines=cut,
            subject=subject,
            hash=canonical_hash([self._kind, subject or "", *cut], size=16),
        )


class PromptBuilder:
    """Builds the input of the prompt for requests of one tenant.

    Args:
        catalogue: Where item ids are looked up.
        tenant: Whose items they are.
        count: The model's token counter.
        history_tokens: Most tokens of history, list marks included.
    """

    def __init__(
        self, *, catalogue: Catalogue, tenant: str, count: TokenCounter, history_tokens: int
    ) -> None:
        self._catalogue = catalogue
        self._tenant = tenant
        self._count = count
        self._history_tokens = history_tokens

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

        # No line costs less than a token, so no more lines than tokens can be read.
        newest = history[-self._history_tokens :]
        subject_line = None if subject is None else item_line(subject)
        if not (subject_line or any(item_line(item) for item in reversed(newest))):
            raise NothingToRead(
                "there is no profile under this id yet, and nothing to make one from: "
                "send `history` with at least one item that has a readable title"
            )
        return Material(
            kind=kind,
            history=newest,
            subject=subject_line,
            categories=_frequent(history if subject is None else [subject, *history]),
            count=self._count,
            budget=self._history_tokens,
        )

    async def _look_up(self, ids: list[str], *, strict: bool) -> dict[str, Item]:
        distinct = list(dict.fromkeys(ids))
        items = await self._catalogue.get_items(self._tenant, distinct)
        unknown = [id_ for id_, item in zip(distinct, items, strict=True) if item is None]
        if unknown and strict:
            raise UnknownItems(unknown)
        return {item.id: item for item in items if item is not None}


def _frequent(items: Iterable[Item]) -> tuple[str, ...]:
    """Returns category names as phrases, the most frequent first, ties in order of appearance."""
    names = Counter(name for item in items for name in _names(item.category))
    return tuple(name for name, _ in names.most_common())


@lru_cache(maxsize=4096)
def _names(category: str) -> tuple[str, ...]:
    """Returns the names in an item's category that are phrases."""
    parts = category.replace("|", ",").replace(";", ",").split(",")
    return tuple(name for part in parts if is_phrase(name := as_data(part)[:40].rstrip()))
