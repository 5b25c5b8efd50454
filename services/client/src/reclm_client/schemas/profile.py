"""Profiles: what asks for one, and what comes back."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Annotated, Literal

from pydantic import Discriminator, FailFast, Field, Tag, with_config

from reclm_client.schemas.fields import REQUEST, Id, is_none, read_as
from reclm_client.schemas.item import Item, ItemText

Kind = Literal["user", "item"]
Status = Literal["generated", "cached", "stale", "degraded"]


@dataclass(frozen=True, slots=True)
class Component:
    """A part that a profile depends on: its name and a short hash of its content."""

    name: str
    hash: str


@dataclass(frozen=True, slots=True)
class ProfileVersion:
    """All that decides what a profile says, apart from what the model read."""

    base_model: Component
    adapter: Component | None
    prompt: Component
    encoder: Component

    def to_json(self) -> bytes:
        """Returns the canonical JSON form, as it goes out in a response."""
        return json.dumps(asdict(self), separators=(",", ":")).encode()

    def digest(self) -> bytes:
        """Returns 8 bytes that stand for this version; embeddings name theirs by them, in hex."""
        return hashlib.blake2b(self.to_json(), digest_size=8).digest()


@dataclass(frozen=True, slots=True, repr=False)
class Profile:
    """A profile as the service gives it; `embedding` only where it was asked for."""

    status: Status
    kind: Kind
    id: str
    identities: tuple[str, ...]
    interests: tuple[str, ...]
    text: str
    input_hash: str
    created_at: datetime
    version: ProfileVersion
    embedding: Annotated[tuple[float, ...] | None, Field(exclude_if=is_none)] = None

    def __repr__(self) -> str:
        size = "" if self.embedding is None else f", embedding=<{len(self.embedding)} numbers>"
        return f"<{self.kind} profile {self.id!r}, {self.status}: {self.text!r}{size}>"


def _kind_of_entry(value: object) -> str:
    return "id" if isinstance(value, str) else "item"


History = Annotated[
    Sequence[str | Item],
    read_as(
        Annotated[
            list[
                Annotated[
                    Annotated[Id, Tag("id")] | Annotated[Item, Tag("item")],
                    Discriminator(_kind_of_entry),
                ]
            ],
            # One finding is enough: describing half a million would hold up other requests.
            FailFast(),
        ]
    ),
    Field(description="Item ids from the catalogue, or items inline; oldest first."),
]

DeadlineMs = Annotated[
    int | None,
    Field(ge=1, le=600_000, description="Answer in time, with a degraded profile if need be."),
]


@with_config(REQUEST)
@dataclass(frozen=True, slots=True)
class UserProfileRequest:
    """A request for a user's profile."""

    id: Id
    history: History = ()
    refresh: Annotated[bool, Field(description="Generate even if there is a profile.")] = False
    max_age_s: Annotated[
        float | None, Field(ge=0, le=1e9, description="Take no older profile from the cache.")
    ] = None
    deadline_ms: DeadlineMs = None
    embedding: Annotated[bool, Field(description="Add the profile's embedding.")] = False
    background: Annotated[
        bool, Field(description="Let all other requests go first: for jobs that have time.")
    ] = False


@with_config(REQUEST)
@dataclass(frozen=True, slots=True)
class ProfileRequest(UserProfileRequest):
    """A request for a profile of either kind; `item` is for an item's profile alone.

    The `history` of an item is the items that the same people chose.
    """

    item: Annotated[
        ItemText | Item | None,
        read_as(ItemText | None),
        Field(description="The item itself; without it, the catalogue's is read."),
    ] = None
