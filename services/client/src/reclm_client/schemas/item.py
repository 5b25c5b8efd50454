"""Items of the catalogue, and items given inline."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, Field, WithJsonSchema, with_config

from reclm_client.schemas.fields import (
    REQUEST,
    Category,
    Description,
    Id,
    Timestamp,
    Title,
    read_as,
)

Hidden = Annotated[
    bool,
    Field(description="Withdrawn: never ranked, answered or shown in reasons; stays readable."),
]
ExpiresAt = Annotated[Timestamp | None, Field(description="Withdrawn from this time on.")]


def _empty(_: None) -> str:
    return ""


@with_config(REQUEST)
@dataclass(frozen=True, slots=True)
class ItemText:
    """What is known of an item."""

    title: Title
    category: Category = ""
    description: Description = ""


@with_config(REQUEST)
@dataclass(frozen=True, slots=True)
class ItemBody(ItemText):
    """An item of the catalogue, as it is sent under the id in the path."""

    hidden: Hidden = False
    expires_at: ExpiresAt = None


@with_config(REQUEST)
@dataclass(frozen=True, slots=True)
class Item:
    """An item of the catalogue, or one given inline in a history, where the id may be empty.

    `hidden` and `expires_at` are of items of the catalogue; inline they mean nothing.
    """

    id: Annotated[
        str,
        read_as(Id | Annotated[None, AfterValidator(_empty)]),
        WithJsonSchema({"type": "string"}, mode="serialization"),
        Field(default=""),
    ]
    title: Title
    category: Category = ""
    description: Description = ""
    hidden: Hidden = False
    expires_at: ExpiresAt = None


@with_config(REQUEST)
@dataclass(frozen=True, slots=True)
class CatalogueItem(Item):
    """An item of the catalogue, as it is sent."""

    id: Id


@dataclass(frozen=True, slots=True)
class ItemPage:
    """A page of the catalogue; `cursor` asks for the next one."""

    items: tuple[Item, ...]
    cursor: str | None
