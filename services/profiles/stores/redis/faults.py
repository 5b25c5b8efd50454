"""What an error of Redis means for the service and for its callers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from redis.exceptions import (
    AskError,
    AuthenticationError,
    BusyLoadingError,
    ClusterDownError,
    MasterDownError,
    MovedError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)

from services.profiles.errors import StoreUnavailable, WritesFail

if TYPE_CHECKING:
    from collections.abc import Mapping

_CODES: Mapping[type[Exception], str] = {
    ReadOnlyError: "READONLY",
    OutOfMemoryError: "OOM",
    NoPermissionError: "NOPERM",
    AuthenticationError: "WRONGPASS",
    BusyLoadingError: "LOADING",
    MasterDownError: "MASTERDOWN",
    ClusterDownError: "CLUSTERDOWN",
    MovedError: "MOVED",
    AskError: "ASK",
    TryAgainError: "TRYAGAIN",
}
"""Errors that redis-py has classes for: it cuts the code off their messages."""

_WRITES: Mapping[str, str] = {
    "READONLY": "the server is a read-only replica",
    "OOM": "its memory is full (maxmemory)",
    "MISCONF": "it cannot save to its disk",
    "NOREPLICAS": "too few replicas are connected (min-replicas-to-write)",
    "UNBLOCKED": "the server has just become a replica",
}
"""Why a server that answers takes no writes."""

_OTHERS: Mapping[str, str] = {
    "NOPERM": "its user may not run this command",
    "WRONGPASS": "it refuses the user or the password",
    "LOADING": "it is loading its data",
    "MASTERDOWN": "its link to the master is down",
    "CLUSTERDOWN": "the cluster does not serve the slot of the keys",
    "MOVED": "the slot of the keys has moved to another node",
    "ASK": "the slot of the keys is being moved to another node",
    "TRYAGAIN": "the slot of the keys is being moved to another node",
}
_CODE = re.compile(rf"(?:^|-)({'|'.join([*_WRITES, *_OTHERS])})\b")


def code_of(error: BaseException) -> str | None:
    """Returns the code of a server's error, such as READONLY; None for any other.

    Before Redis 7 an error inside a script is told in the middle of the script's own error. What
    stops a connection from being made is the cause of redis-py's ConnectionError.
    """
    for kind, code in _CODES.items():
        if isinstance(error, kind):
            return code
    if isinstance(error, ResponseError):
        found = _CODE.search(str(error))
        return found[1] if found else None
    return code_of(error.__cause__) if error.__cause__ else None


def demoted(error: BaseException) -> bool:
    """Returns whether the server is not the one to talk to any more."""
    return code_of(error) in {"READONLY", "UNBLOCKED", "MOVED"}


def unavailable(error: RedisError | OSError) -> StoreUnavailable:
    """Returns the error for callers, without the server's address."""
    code = code_of(error) or ""
    if code in _WRITES:
        return WritesFail(f"the profile store takes no writes: {_WRITES[code]}; try again shortly")
    why = _OTHERS.get(code, type(error).__name__)
    return StoreUnavailable(f"the profile store does not answer ({why}); try again shortly")
