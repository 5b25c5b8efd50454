"""What others call the profile service with: a typed client, sync and async.

with ReclmClient("http://127.0.0.1:8080") as client:
    profile = client.profile("user", "u1", history=["movie-1", "movie-2"])
"""

from reclm_client.asynchronous import AsyncReclmClient, AsyncRows
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
from reclm_client.results import Embeddings, Erasures, ItemRow, ProfileRow, ScoreRow
from reclm_client.retries import Retries, Timeouts
from reclm_client.schemas.erasure import Copy
from reclm_client.schemas.event import Event
from reclm_client.schemas.health import Dependency, Readiness
from reclm_client.schemas.item import Item
from reclm_client.schemas.profile import (
    Component,
    Kind,
    Profile,
    ProfileRequest,
    ProfileVersion,
    Status,
)
from reclm_client.schemas.score import (
    ActiveScorer,
    Interest,
    KnownBy,
    PastItem,
    Reasons,
    Score,
    ScoredItem,
    Scorer,
    ScoreRequest,
)
from reclm_client.synchronous import ReclmClient, Rows
from reclm_client.version import __version__

# fmt: off
__all__ = [
    "AccessDenied", "ActiveScorer", "AsyncReclmClient", "AsyncRows", "Component",
    "ConnectionFailed", "Copy", "Dependency", "Embeddings", "Erasures", "Event", "Interest", "InvalidRequest", "Item",
    "ItemRow", "Kind", "KnownBy", "MalformedAnswer", "NotFound", "PastItem", "Profile",
    "ProfileRequest", "ProfileRow", "ProfileVersion", "Readiness", "Reasons", "ReclmApiError",
    "ReclmClient", "ReclmClientError", "Retries", "Rows", "Score", "ScoreRequest", "ScoreRow",
    "ScoredItem", "Scorer", "Status", "TimedOut", "Timeouts", "Unavailable", "__version__",
]
# fmt: on
