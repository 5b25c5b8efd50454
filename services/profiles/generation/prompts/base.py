"""What a version of the prompts has to offer, and how it is identified."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Protocol

from services.profiles.domain.profile import PHRASES, Component

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.profiles.domain.profile import Kind, Message, ProfileText
    from services.profiles.generation.grammar import NotAProfile


class Grammar(Protocol):
    """The form of an answer: what decoding is constrained to, and how the answer is parsed."""

    def pattern(self, kind: Kind) -> str:
        """Returns the regular expression that a whole answer matches."""
        ...

    def rest(self, kind: Kind, had: NotAProfile, *, apart: bool = False) -> tuple[str, str]:
        """Returns the beginning of an answer from an earlier try, and a pattern for the rest."""
        ...

    def parse(self, kind: Kind, text: str, *, earlier: NotAProfile | None = None) -> ProfileText:
        """Returns the profile that an answer holds.

        Raises:
            NotAProfile: It holds none.
        """
        ...


class PromptVersion(Protocol):
    """A version of the prompts: the chats that train, serve and teach, and their answers' form."""

    @property
    def name(self) -> str:
        """The name under which settings, adapters and stored profiles know this version."""
        ...

    @property
    def grammar(self) -> Grammar:
        """The form of the answers."""
        ...

    def user_messages(self, lines: Sequence[str], *, examples: bool = True) -> list[Message]:
        """Returns the chat that asks for a user's profile.

        Args:
            lines: The user's items as `item_line` gives them, oldest first.
            examples: Show worked examples, for a model without an adapter.
        """
        ...

    def item_messages(
        self, line: str, neighbours: Sequence[str] = (), *, examples: bool = True
    ) -> list[Message]:
        """Returns the chat that asks for an item's profile.

        Args:
            line: The item as `item_line` gives it.
            neighbours: Lines of items that the same people chose.
            examples: Show worked examples, for a model without an adapter.
        """
        ...


def component(prompt: PromptVersion, *, examples: bool) -> Component:
    """Returns a version's name, and a hash of all its words and of the form of the answers."""
    chats = (
        prompt.user_messages(["x"], examples=examples),
        prompt.item_messages("x", ["y"], examples=examples),
    )
    patterns = [prompt.grammar.pattern(kind) for kind in PHRASES]
    digest = hashlib.sha256(repr((chats, patterns)).encode()).hexdigest()
    return Component(prompt.name, digest[:12])
