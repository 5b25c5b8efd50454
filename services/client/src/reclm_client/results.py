"""What goes into and comes out of the client, as frozen values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    import numpy as np
    from numpy.typing import NDArray

    from reclm_client.errors import ReclmApiError

Kind = Literal["user", "item"]
Status = Literal["generated", "cached", "stale", "degraded"]
KnownBy = Literal["training", "history", "profile", "nothing"]


@dataclass(frozen=True, slots=True)
class Item:
    """An item of the catalogue, or one given inline in a history, where the id may be empty."""

    id: str
    title: str
    category: str = ""
    description: str = ""


@dataclass(frozen=True, slots=True)
class Event:
    """One interaction: a user chose an item of the catalogue.

    Attributes:
        at: When, to the millisecond, with a time zone; now where none is given. The same user, item
            and time are the same event, however often they are sent.

    Raises:
        ValueError: `at` has no time zone.
    """

    user_id: str
    item_id: str
    at: datetime | None = None

    def __post_init__(self) -> None:
        if self.at is not None and self.at.tzinfo is None:
            raise ValueError(f"{self.at} has no time zone; give one, such as datetime.UTC")


@dataclass(frozen=True, slots=True)
class ProfileRequest:
    """One row of a batch of profiles.

    Attributes:
        id: Whose profile it is.
        history: Oldest first: ids of catalogue items, or the items themselves. For an item's
            profile, what the same people chose.
        item: For an item's profile: the item itself, instead of the catalogue's entry.
        refresh: Generate anew, whatever is cached.
        max_age_s: Generate anew if the cached profile is older.
        deadline_ms: Answer within this time, with a degraded profile if need be.
        embedding: Return the profile's vector too.
        background: Let all other requests go first: for jobs that have time.
    """

    id: str
    history: Sequence[str | Item] = ()
    item: Item | None = None
    refresh: bool = False
    max_age_s: float | None = None
    deadline_ms: int | None = None
    embedding: bool = False
    background: bool = False


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


@dataclass(frozen=True, slots=True)
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
    embedding: tuple[float, ...] | None = None


@dataclass(frozen=True, slots=True)
class ProfileRow:
    """The answer to one row of a batch: a profile, or the error that this row alone met.

    Attributes:
        row: The row's number in the whole batch, from 0.
        id: The row's id as the service read it; None where it could not.
    """

    row: int
    id: str | None
    status_code: int
    profile: Profile | None
    error: ReclmApiError | None


@dataclass(frozen=True, slots=True)
class ItemRow:
    """The answer to one item of a batch; `error` is None where it is in the catalogue now."""

    row: int
    id: str | None
    status_code: int
    error: ReclmApiError | None


@dataclass(frozen=True, slots=True)
class ScoreRequest:
    """One row of a batch of scores.

    Attributes:
        user_id: Whose stored profile and interactions count too; None for somebody without an id.
        history: Oldest first: ids of catalogue items, or the items themselves.
        candidates: Ids to rank; None for all items.
        exclude: Ids not to return.
        k: Items to return at most.
        deadline_ms: Answer within this time, with a degraded profile if need be.
        reasons: Say for each item what carried it.
    """

    user_id: str | None = None
    history: Sequence[str | Item] = ()
    candidates: Sequence[str] | None = None
    exclude: Sequence[str] = ()
    k: int = 20
    deadline_ms: int | None = None
    reasons: bool = True


@dataclass(frozen=True, slots=True)
class Contribution:
    """What carried an item: a past item by id, or an interest by phrase; positive."""

    name: str
    value: float


@dataclass(frozen=True, slots=True)
class Reasons:
    """What carried an item, the most first; `interests` is None where it could not be found out."""

    history: tuple[Contribution, ...]
    interests: tuple[Contribution, ...] | None


@dataclass(frozen=True, slots=True)
class ScoredItem:
    """An item of a ranking; `reasons` only where they were asked for."""

    item_id: str
    score: float
    reasons: Reasons | None


@dataclass(frozen=True, slots=True)
class Score:
    """A user's best items, best first.

    Attributes:
        scorer: The bundle that made the ranking.
        known_by: What the scores are made from.
        profile: The profile that went in; its status says whether it is the real one.
        ignored: Ids of the history and the candidates that the scorer lacks.
    """

    scorer: str
    user_id: str | None
    known_by: KnownBy
    profile: Profile | None
    ignored: tuple[str, ...]
    items: tuple[ScoredItem, ...]


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """The answer to one row of a batch: a ranking, or the error that this row alone met.

    Attributes:
        row: The row's number in the whole batch, from 0.
    """

    row: int
    user_id: str | None
    status_code: int
    score: Score | None
    error: ReclmApiError | None


@dataclass(frozen=True, slots=True)
class Scorer:
    """A scorer bundle that the service found.

    Attributes:
        previous: It was active before the one that is.
        loaded: The worker that answered scores with it.
        refused: Why it cannot be activated; None where it can.
    """

    name: str
    active: bool
    previous: bool
    loaded: bool
    refused: str | None
    kind: str | None
    model: str | None
    created_at: str | None
    n_items: int | None
    n_users: int | None
    metrics: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class ActiveScorer:
    """The names of the active scorer and of the one before it."""

    active: str | None
    previous: str | None


@dataclass(frozen=True, slots=True)
class Embeddings:
    """Vectors of many profiles.

    Attributes:
        ids: As asked for, n of them.
        vectors: Shape (n, dimension), float32; zeros where there is no profile. The dimension is
            0 where none is found.
        found: Shape (n,): which ids have a profile.
        versions: Hex digests of the versions that made the vectors, None where there is none.
            Vectors of different versions must not be compared.
    """

    ids: tuple[str, ...]
    vectors: NDArray[np.float32]
    found: NDArray[np.bool_]
    versions: tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class Dependency:
    """How one thing that the service depends on is doing."""

    status: Literal["up", "down"]
    latency_ms: float
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether the service can work: `degraded` answers from the cache only.

    Attributes:
        version: What the service makes profiles with now.
    """

    status: Literal["ready", "degraded", "unready"]
    dependencies: Mapping[str, Dependency]
    version: ProfileVersion
