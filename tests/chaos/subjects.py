"""Those whom the lab asks profiles for, and what each profile can have been made from.

Whatever the lab sends carries a trace: who it is about, in which life (an erasure ends a life), and
its number in that life. The hash of a profile's input tells which of it the model read.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from services.profiles.domain.profile import Item, Kind, canonical_hash
from services.profiles.generation.prompts.item_text import item_line
from tests.chaos.words import spell

Role = Literal["reader", "clicker", "item"]
"""Readers bring their history inline, clickers send events, and items are described inline."""

_MOST_DOUBTFUL = 5
"""Events that a crash may have lost, of which every combination is tried."""


class Content(NamedTuple):
    """What a profile was made from: an edition of a history, or all events up to one.

    Attributes:
        subject: The subject's number.
        life: Counts erasures.
        part: The edition of an inline history, or the last event; counts from 0 in each life.
    """

    subject: int
    life: int
    part: int


@dataclass(slots=True)
class SentEvent:
    """An event of a clicker.

    Attributes:
        accepted: When a 202 was received; None before that.
        doubtful: A crash of a store that syncs every second may have lost it.
    """

    item_id: str
    accepted: float | None = None
    doubtful: bool = False


@dataclass(slots=True)
class Subject:
    """Somebody, or something, with a profile.

    Attributes:
        life: The current life.
        parts: Editions or events that were begun in this life.
        erasing: An erasure is under way: nothing new of this life may be sent.
        uncertain: Lives of which an erasure without an answer may have taken something.
    """

    number: int
    role: Role
    life: int = 0
    parts: int = 0
    erasing: bool = False
    events: dict[int, list[SentEvent]] = field(default_factory=dict)
    uncertain: set[int] = field(default_factory=set)

    @property
    def kind(self) -> Kind:
        return "item" if self.role == "item" else "user"

    @property
    def id(self) -> str:
        return f"{self.role}-{self.number}"

    def next_life(self) -> None:
        """Begins a life of which nothing is known."""
        self.life += 1
        self.parts = 0
        self.erasing = False


def text_of(content: Content) -> dict[str, str]:
    """Returns the title and category that carry a trace."""
    word = spell(*content)
    return {"title": f"Record {word}", "category": f"Shelf {word}"}


def catalogue_id(content: Content) -> str:
    """Returns the id of a clicker's item."""
    return "record-" + "-".join(map(str, content))


def content_of_item(item_id: str) -> Content | None:
    """Returns what `catalogue_id` was made from; None for another id."""
    name, *numbers = item_id.split("-")
    if name != "record" or len(numbers) != 3 or not all(number.isdigit() for number in numbers):
        return None
    return Content(*map(int, numbers))


def request_body(subject: Subject, content: Content) -> dict[str, Any]:
    """Returns the body of a request that brings its history, or its item, along."""
    if subject.role == "item":
        return {"id": subject.id, "item": text_of(content)}
    return {"id": subject.id, "history": [text_of(content)]}


def input_hash(kind: Kind, contents: tuple[Content, ...]) -> str:
    """Returns the hash of what the model reads, as the service reports it."""
    lines = [item_line(Item("", **text_of(content))) for content in contents]
    if kind == "item":
        return canonical_hash([kind, *lines], size=16).hex()
    return canonical_hash([kind, "", *lines], size=16).hex()


def hashes_of_events(subject: Subject, life: int) -> dict[str, Content]:
    """Returns the inputs that a clicker's stored events can have made in a life.

    Each event is sent until it is accepted before the next one is sent, so that a history is the
    first so many of them; those that a crash may have lost can be missing.
    """
    found: dict[str, Content] = {}
    sent = subject.events.get(life, [])
    contents = [Content(subject.number, life, part) for part in range(len(sent))]
    for length in range(1, len(sent) + 1):
        doubtful = [part for part in range(length) if sent[part].doubtful][-_MOST_DOUBTFUL:]
        for count in range(len(doubtful) + 1):
            for missing in itertools.combinations(doubtful, count):
                kept = tuple(contents[part] for part in range(length) if part not in missing)
                if kept:
                    found[input_hash(subject.kind, kept)] = kept[-1]
    return found
