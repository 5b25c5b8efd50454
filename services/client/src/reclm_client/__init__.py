"""What others call the profile service with: a typed client, sync and async.

with ReclmClient("http://127.0.0.1:8080") as client:
    profile = client.profile("user", "u1", history=["movie-1", "movie-2"])
"""

from reclm_client.asynchronous import AsyncReclmClient
from reclm_client.errors import (
    AccessDenied,
    ConnectionFailed,
    InvalidRequest,
    MalformedAnswer,
    NotFound,
    ReclmApiError,
    ReclmClientError,
    TimedOut,
    Unavailable,
)
from reclm_client.results import (
    ActiveScorer,
    Component,
    Contribution,
    Dependency,
    Embeddings,
    Event,
    Item,
    ItemRow,
    Kind,
    KnownBy,
    Profile,
    ProfileRequest,
    ProfileRow,
    ProfileVersion,
    Readiness,
    Reasons,
    Score,
    ScoredItem,
    Scorer,
    ScoreRequest,
    ScoreRow,
    Status,
)
from reclm_client.retries import Retries, Timeouts
from reclm_client.sync import ReclmClient

__all__ = [
    "AccessDenied",
    "ActiveScorer",
    "AsyncReclmClient",
    "Component",
    "ConnectionFailed",
    "Contribution",
    "Dependency",
    "Embeddings",
    "Event",
    "InvalidRequest",
    "Item",
    "ItemRow",
    "Kind",
    "KnownBy",
    "MalformedAnswer",
    "NotFound",
    "Profile",
    "ProfileRequest",
    "ProfileRow",
    "ProfileVersion",
    "Readiness",
    "Reasons",
    "ReclmApiError",
    "ReclmClient",
    "ReclmClientError",
    "Retries",
    "Score",
    "ScoreRequest",
    "ScoreRow",
    "ScoredItem",
    "Scorer",
    "Status",
    "TimedOut",
    "Timeouts",
    "Unavailable",
]
