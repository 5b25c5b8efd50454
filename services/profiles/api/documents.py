"""The shapes of answers."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from services.profiles.api.problems import Problem
from services.profiles.domain.profile import Kind, Status


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
