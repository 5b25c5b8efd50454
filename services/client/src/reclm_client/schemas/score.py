"""Rankings: what asks for one, what comes back, and the scorers that make them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import FailFast, Field, with_config

from reclm_client.schemas.fields import REQUEST, Id, read_as
from reclm_client.schemas.profile import DeadlineMs, History, Profile

# pydantic cannot make a union with FailFast in it: it is not hashable.
_Candidates = Annotated[
    Sequence[str],
    read_as(Annotated[list[Id], FailFast(), Field(min_length=1, max_length=10_000)]),
]

KnownBy = Literal["training", "history", "profile", "nothing"]


@with_config(REQUEST)
@dataclass(frozen=True, slots=True)
class ScoreRequest:
    """A request for the items that fit a user best."""

    user_id: Annotated[
        Id | None, Field(description="Whose stored profile and interactions count too.")
    ] = None
    history: History = ()
    candidates: Annotated[
        Sequence[str] | None,
        read_as(_Candidates | None),
        Field(description="Rank these alone; null for all items."),
    ] = None
    exclude: Annotated[
        Sequence[str],
        read_as(Annotated[list[Id], FailFast(), Field(max_length=10_000)]),
        Field(description="Do not return these."),
    ] = ()
    k: Annotated[int, Field(ge=1, le=1000, description="Items to return at most.")] = 20
    deadline_ms: DeadlineMs = None
    reasons: Annotated[bool, Field(description="Say what carried each item.")] = True


@dataclass(frozen=True, slots=True)
class PastItem:
    """A past item that carried another."""

    item_id: str
    contribution: Annotated[
        float,
        Field(
            description="By how much the score is lower when this item is left out of the history "
            "and everything else stays; for models of item weights, the weight itself."
        ),
    ]


@dataclass(frozen=True, slots=True)
class Interest:
    """An interest of the profile that carried an item."""

    phrase: str
    contribution: Annotated[
        float,
        Field(
            description="By how much the score with this phrase alone for a profile is above the "
            "score without any profile, the history being the same."
        ),
    ]


@dataclass(frozen=True, slots=True)
class Reasons:
    """What carried an item, in terms of the model: the highest few above zero, best first.

    They are differences of scores, not shares: they need not add up to the score.
    """

    history: tuple[PastItem, ...]
    interests: Annotated[
        tuple[Interest, ...] | None,
        Field(description="Null when the encoder could not be asked about the phrases."),
    ]


@dataclass(frozen=True, slots=True)
class ScoredItem:
    """An item of a ranking."""

    item_id: str
    score: float
    reasons: Annotated[Reasons | None, Field(description="Null when none were asked for.")] = None


@dataclass(frozen=True, slots=True, repr=False)
class Score:
    """A user's best items."""

    scorer: Annotated[str, Field(description="The bundle that all of this answer is from.")]
    user_id: str | None
    known_by: Annotated[
        KnownBy,
        Field(
            description="`training`: nothing is known of the user that training did not know, and "
            "the scores are what it learnt. `history`: from the clicks, and the profile if there "
            "is one. `profile`: from that alone. `nothing`: what suits somebody unknown."
        ),
    ]
    profile: Annotated[
        Profile | None,
        Field(
            description="The profile that scores or reasons are made with, and by its status "
            "whether it is the real one; null when there is none or the model reads none."
        ),
    ]
    ignored: Annotated[
        tuple[str, ...],
        Field(description="Ids of the history and of the candidates that the scorer lacks."),
    ]
    items: Annotated[
        tuple[ScoredItem, ...],
        Field(description="Best first; without what the user is known to have chosen."),
    ]
    scorer_content: Annotated[
        str | None, Field(description="The hash of the bundle's files: the same on every host.")
    ] = None

    def __repr__(self) -> str:
        best = ", ".join(f"{item.item_id} {item.score:.3g}" for item in self.items[:5])
        more = f", {len(self.items) - 5} more" if len(self.items) > 5 else ""
        who = "a new user" if self.user_id is None else repr(self.user_id)
        return f"<score for {who} by {self.scorer}, known by {self.known_by}: {best}{more}>"


@dataclass(frozen=True, slots=True)
class Scorer:
    """A scorer bundle that is there to be activated, or why it is not."""

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
    content: Annotated[
        str | None,
        Field(description="The hash of its files, as the host that answers has them."),
    ] = None
    conflict: Annotated[
        str | None,
        Field(
            description="Why it does not answer although its name is active: this host has another "
            "content under it. Names both."
        ),
    ] = None


@dataclass(frozen=True, slots=True)
class ActiveScorer:
    """The active scorer and the one before it: their names, and the hashes of their contents."""

    active: str | None
    previous: str | None
    active_content: str | None = None
    previous_content: str | None = None


@dataclass(frozen=True, slots=True)
class Scorers(ActiveScorer):
    """The bundles there are."""

    scorers: tuple[Scorer, ...] = ()
