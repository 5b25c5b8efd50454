"""What errors of Redis mean, in the words of several of its versions."""

from __future__ import annotations

import pytest
from redis.exceptions import (
    AuthenticationError,
    MovedError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError

from services.profiles.errors import WritesFail
from services.profiles.stores.redis.faults import demoted, unavailable

IN_SCRIPT_6 = "Error running script (call to f_6b1bf): @user_script:3: @user_script: 3: -{}"
READONLY = "READONLY You can't write against a read only replica."
FULL = "OOM command not allowed when used memory > 'maxmemory'."


@pytest.mark.parametrize(
    ("error", "told", "leaves"),
    [
        (ReadOnlyError("You can't write against a read only replica."), "read-only replica", True),
        (ResponseError(IN_SCRIPT_6.format(READONLY)), "read-only replica", True),
        (ResponseError("UNBLOCKED force unblock, instance state changed"), "just become", True),
        (OutOfMemoryError("command not allowed when used memory"), "memory is full", False),
        (ResponseError(IN_SCRIPT_6.format(FULL)), "memory is full", False),
        (ResponseError("MISCONF Errors writing to the AOF file: No space left"), "disk", False),
        (ResponseError("NOREPLICAS Not enough good replicas to write."), "too few replicas", False),
    ],
)
def test_what_stops_writes_alone_is_told(error: RedisError, told: str, leaves: bool) -> None:
    found = unavailable(error)
    assert isinstance(found, WritesFail)
    assert told in found.detail
    assert demoted(error) is leaves


@pytest.mark.parametrize(
    ("error", "told", "leaves"),
    [
        (MovedError("7 10.0.0.1:6379"), "moved to another node", True),
        (ResponseError("TRYAGAIN Multiple keys request during rehashing"), "being moved", False),
        (NoPermissionError("this user has no permissions to run 'get'"), "may not run", False),
        (AuthenticationError("invalid username-password pair"), "refuses the user", False),
        (RedisConnectionError("Error 111 connecting to 10.0.0.1:6379."), "ConnectionError", False),
        (ResponseError("ERR a film named READONLY or OOM"), "ResponseError", False),
        (OSError("unreachable: 10.0.0.1"), "OSError", False),
    ],
)
def test_other_errors_are_told_without_addresses(
    error: RedisError | OSError, told: str, leaves: bool
) -> None:
    found = unavailable(error)
    assert not isinstance(found, WritesFail)
    assert told in found.detail
    assert "10.0.0.1" not in found.detail
    assert demoted(error) is leaves


def test_what_prevents_a_connection_is_its_cause() -> None:
    error = RedisConnectionError("Hash slot not served")
    error.__cause__ = ResponseError("CLUSTERDOWN Hash slot not served")
    assert "does not serve the slot" in unavailable(error).detail
