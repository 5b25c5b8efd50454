"""Items of the catalogue, and items given inline."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, Field, WithJsonSchema, with_config

from reclm_client.schemas.fields import REQUEST, Category, Description, Id, Title, read_as


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
class Item:
    """An item of the catalogue, or one given inline in a history, where the id may be empty."""

    id: Annotated[
        str,
        read_as(Id | Annotated[None, AfterValidator(_empty)]),
        WithJsonSchema({"type": "string"}, mode="serialization"),
        Field(default=""),
    ]
    title: Title
    category: Category = ""
    description: Description = ""


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
