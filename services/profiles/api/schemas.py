"""What goes over the wire: request bodies, checked strictly, and the shapes of answers."""

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

from services.profiles.api.problems import Problem
from services.profiles.models import Item, Kind, Status

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


class ComponentDocument(BaseModel):
    """A part that a profile depends on."""

    name: str
    hash: str


class VersionDocument(BaseModel):
    """All that decides what a profile says, apart from what the model read."""

    base_model: ComponentDocument
    adapter: ComponentDocument | None
    prompt: ComponentDocument
    encoder: ComponentDocument


class ProfileDocument(BaseModel):
    """A profile."""

    status: Status
    kind: Kind
    id: str
    identities: list[str]
    interests: list[str]
    text: str
    input_hash: str
    created_at: str
    version: VersionDocument
    embedding: list[float] | None = None


class PastItemDocument(BaseModel):
    """A past item that carried another."""

    item_id: str
    contribution: Annotated[
        float,
        Field(
            description="By how much the score is lower when this item is left out of the history "
            "and everything else stays; for models of item weights, the weight itself."
        ),
    ]


class InterestDocument(BaseModel):
    """An interest of the profile that carried an item."""

    phrase: str
    contribution: Annotated[
        float,
        Field(
            description="By how much the score with this phrase alone for a profile is above the "
            "score without any profile, the history being the same."
        ),
    ]


class ReasonsDocument(BaseModel):
    """What carried an item, in terms of the model: the highest few above zero, best first.

    They are differences of scores, not shares: they need not add up to the score.
    """

    history: list[PastItemDocument]
    interests: Annotated[
        list[InterestDocument] | None,
        Field(description="Null when the encoder could not be asked about the phrases."),
    ]


class ScoredItemDocument(BaseModel):
    """An item of a ranking."""

    item_id: str
    score: float
    reasons: Annotated[
        ReasonsDocument | None, Field(description="Null when none were asked for.")
    ] = None


class ScoreDocument(BaseModel):
    """A user's best items."""

    scorer: Annotated[str, Field(description="The bundle that all of this answer is from.")]
    user_id: str | None
    known_by: Annotated[
        Literal["training", "history", "profile", "nothing"],
        Field(
            description="`training`: nothing is known of the user that training did not know, and "
            "the scores are what it learnt. `history`: from the clicks, and the profile if there "
            "is one. `profile`: from that alone. `nothing`: what suits somebody unknown."
        ),
    ]
    profile: Annotated[
        ProfileDocument | None,
        Field(
            description="The profile that scores or reasons are made with, and by its status "
            "whether it is the real one; null when there is none or the model reads none."
        ),
    ]
    ignored: Annotated[
        list[str],
        Field(description="Ids of the history and of the candidates that the scorer lacks."),
    ]
    items: Annotated[
        list[ScoredItemDocument],
        Field(description="Best first; without what the user is known to have chosen."),
    ]


class ScorerDocument(BaseModel):
    """A bundle that is there to be activated, or why it is not."""

    name: str
    active: bool
    previous: Annotated[bool, Field(description="Was active before the one that is.")]
    loaded: Annotated[bool, Field(description="The worker that answers this scores with it.")]
    refused: Annotated[str | None, Field(description="Why it cannot be activated.")]
    kind: Literal["factors", "weights"] | None
    model: str | None
    created_at: str | None
    n_items: int | None
    n_users: int | None
    metrics: dict[str, float] | None


class ScorersDocument(BaseModel):
    """The bundles there are."""

    active: str | None
    previous: str | None
    scorers: list[ScorerDocument]


class ActiveScorerDocument(BaseModel):
    """What is active now, and what was before."""

    active: str | None
    previous: str | None


class RowDocument(BaseModel):
    """One line of a batch's answer: a profile, a ranking or a problem; for items nothing more."""

    row: int
    id: str | None
    status_code: int
    profile: ProfileDocument | None = None
    score: ScoreDocument | None = None
    error: Problem | None = None


class EmbeddingRow(BaseModel):
    """One embedding; both members null where there is no profile."""

    id: str
    vector: list[float] | None
    version: str | None


class EmbeddingsDocument(BaseModel):
    """Embeddings in the order of the ids asked for; `dimension` is 0 when none was found."""

    dimension: int
    rows: list[EmbeddingRow]


class AcceptedDocument(BaseModel):
    """How many events were taken, and of how many users; those known before count too."""

    events: int
    users: int


class EventDocument(BaseModel):
    """One interaction of a user."""

    item_id: str
    timestamp: str


class EventsDocument(BaseModel):
    """What is known of a user, oldest first."""

    user_id: str
    events: list[EventDocument]


class ItemDocument(BaseModel):
    """An item of the catalogue."""

    id: str
    title: str
    category: str
    description: str


class ItemPageDocument(BaseModel):
    """A page of the catalogue; `cursor` asks for the next one."""

    items: list[ItemDocument]
    cursor: str | None


class DependencyDocument(BaseModel):
    """Whether one dependency answers."""

    status: Literal["up", "down"]
    latency_ms: float
    error: str | None = None


class ReadyDocument(BaseModel):
    """Whether the service can work; `degraded` means that hits are served and misses are not."""

    status: Literal["ready", "degraded", "unready"]
    dependencies: dict[str, DependencyDocument]
    version: Annotated[VersionDocument, Field(description="What profiles are made with now.")]


class HealthDocument(BaseModel):
    """The process answers."""

    status: Literal["ok"]


def json_schema_of(*models: type[BaseModel]) -> dict[str, JsonValue]:
    """Returns the schemas of models and of all that they refer to, for OpenAPI's components."""
    found: dict[str, JsonValue] = {}
    for model in models:
        schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
        found.update(schema.pop("$defs", {}))
        found[model.__name__] = schema
    return found
