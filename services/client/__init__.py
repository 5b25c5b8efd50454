"""What others call the profile service with: a typed client, sync and async.

with ReclmClient("http://127.0.0.1:8080") as client:
    profile = client.profile("user", "u1", history=["movie-1", "movie-2"])
"""

from services.client.asynchronous import AsyncReclmClient
from services.client.errors import (
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
from services.client.results import (
    Component,
    Dependency,
    Embeddings,
    Item,
    ItemRow,
    Kind,
    Profile,
    ProfileRequest,
    ProfileRow,
    ProfileVersion,
    Readiness,
    Status,
)
from services.client.retries import Retries, Timeouts
from services.client.sync import ReclmClient

__all__ = [
    "AccessDenied",
    "AsyncReclmClient",
    "Component",
    "ConnectionFailed",
    "Dependency",
    "Embeddings",
    "InvalidRequest",
    "Item",
    "ItemRow",
    "Kind",
    "MalformedAnswer",
    "NotFound",
    "Profile",
    "ProfileRequest",
    "ProfileRow",
    "ProfileVersion",
    "Readiness",
    "ReclmApiError",
    "ReclmClient",
    "ReclmClientError",
    "Retries",
    "Status",
    "TimedOut",
    "Timeouts",
    "Unavailable",
]
