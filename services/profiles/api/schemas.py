"""The bodies of requests, checked strictly."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    FailFast,
    Field,
    JsonValue,
    StringConstraints,
    Tag,
)

from services.profiles.domain.profile import Item

NO_CONTROLS = r"^[^\x00-\x1f\x7f-\x9f]*$"
"""Control characters are refused wherever a person or a program names something."""

Id = Annotated[
    str,
    StringConstraints(min_length=1, max_length=256, pattern=r"^[^\x00-\x1f\x7f-\x9f]+$"),
    Field(description="An id of your own: any characters but control characters."),
]
Title = Annotated[
    str,
    StringConstraints(min_length=1, max_length=512, pattern=NO_CONTROLS),
]
Category = Annotated[
    str,
    StringConstraints(max_length=256, pattern=NO_CONTROLS),
    Field(description="One or more names, separated by commas, the most telling first."),
]
Description = Annotated[
    str,
    StringConstraints(max_length=8192, pattern=r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]*$"),
    Field(description="May have line breaks and tabs."),
]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class ItemText(_Body):
    """What is known of an item."""

    title: Title
    category: Category = ""
    description: Description = ""

    def to_item(self, id: str = "") -> Item:  # noqa: A002 - the field's name
        """Returns the item as the service knows it."""
        return Item(id, self.title, self.category, self.description)


class InlineItem(ItemText):
    """An item of a history, sent along instead of referred to."""

    id: Id | None = None


class CatalogueItem(ItemText):
    """An item of the catalogue."""

    id: Id


def _kind_of_entry(value: object) -> str:
    return "id" if isinstance(value, str) else "item"


HistoryEntry = Annotated[
    Annotated[Id, Tag("id")] | Annotated[InlineItem, Tag("item")], Discriminator(_kind_of_entry)
]


History = Annotated[
    list[HistoryEntry],
    FailFast(),  # of half a million wrong entries, one is as telling as all, and sooner found
    Field(description="Item ids from the catalogue, or items inline; oldest first."),
]


class ProfileBody(_Body):
    """A request for a user's profile."""

    id: Id
    history: History = []
    refresh: Annotated[bool, Field(description="Generate even if there is a profile.")] = False
    max_age_s: Annotated[
        float | None, Field(ge=0, le=1e9, description="Take no older profile from the cache.")
    ] = None
    deadline_ms: Annotated[
        int | None,
        Field(ge=1, le=600_000, description="Answer in time, with a degraded profile if need be."),
    ] = None
    embedding: Annotated[bool, Field(description="Add the profile's embedding.")] = False
    background: Annotated[
        bool, Field(description="Let all other requests go first: for jobs that have time.")
    ] = False


class ItemProfileBody(ProfileBody):
    """A request for an item's profile. `history`: items that the same people chose."""

    item: Annotated[
        ItemText | None, Field(description="The item itself; without it, the catalogue's is read.")
    ] = None


_TIME = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?"
    r"(Z|[+-][0-9]{2}:[0-9]{2})$"
)
"""RFC 3339, section 5.6, with a `T` and a `Z` in capitals."""


class EventBody(_Body):
    """One interaction: a user chose an item of the catalogue."""

    user_id: Id
    item_id: Id
    timestamp: Annotated[
        Annotated[int, Field(ge=0, lt=2**48)]
        | Annotated[str, StringConstraints(pattern=_TIME)]
        | None,
        Field(
            description="RFC 3339, or Unix milliseconds; the time of arrival by default. The same "
            "user, item and time are the same event, however often they are sent."
        ),
    ] = None


class EventsBody(_Body):
    """What users did."""

    events: Annotated[list[EventBody], FailFast(), Field(min_length=1, max_length=1000)]


class EmbeddingsBody(_Body):
    """A request for the embeddings of profiles that exist."""

    ids: Annotated[list[Id], Field(min_length=1, max_length=10_000)]
    dtype: Literal["float32", "float16"] = "float32"


class ScoreBody(_Body):
    """A request for the items that fit a user best."""

    user_id: Annotated[
        Id | None, Field(description="Whose stored profile and interactions count too.")
    ] = None
    history: History = []
    candidates: Annotated[
        list[Id] | None,
        Field(min_length=1, max_length=10_000, description="Rank these alone; null for all items."),
    ] = None
    exclude: Annotated[list[Id], Field(max_length=10_000, description="Do not return these.")] = []
    k: Annotated[int, Field(ge=1, le=1000, description="Items to return at most.")] = 20
    deadline_ms: Annotated[
        int | None,
        Field(ge=1, le=600_000, description="Answer in time, with a degraded profile if need be."),
    ] = None
    reasons: Annotated[bool, Field(description="Say what carried each item.")] = True


def json_schema_of(*models: type[BaseModel]) -> dict[str, JsonValue]:
    """Returns the schemas of models and of all that they refer to, for OpenAPI's components."""
    found: dict[str, JsonValue] = {}
    for model in models:
        schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
        found.update(schema.pop("$defs", {}))
        found[model.__name__] = schema
    return found
