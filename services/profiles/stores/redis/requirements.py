"""What a Redis must be and allow for the service to work on it, each fault as one line.

Faults that pass by themselves, such as a server that is down or loading, are none: the service
starts, and tells them in /readyz. What is here stays until somebody changes the configuration.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from services.profiles.errors import StoreUnavailable
from services.profiles.stores.redis.faults import code_of
from services.profiles.stores.redis.pool import Sentinels

if TYPE_CHECKING:
    from collections.abc import Mapping

    from services.profiles.stores.redis.client import RedisClient

OLDEST = (6, 2)
"""The oldest version that has all commands: XAUTOCLAIM came with it."""

_NO_CLUSTER = "RECLM_REDIS_URL names a cluster, but Redis runs as none: write redis://HOST:PORT"

OUTSIDE = frozenset(
    {"HELLO", "PING", "MULTI", "EXEC", "EVALSHA", "EVAL", "SCRIPT LOAD", "MGET", "SET", "WAIT"}
)
"""Commands that are sent as they are; what only scripts and transactions use is in `INSIDE`."""

OPTIONAL = frozenset({"INFO"})
"""Commands without which something is reported as unknown."""

INSIDE: tuple[tuple[str, ...], ...] = (
    ("TIME",),
    ("SET", "K", "v", "PX", "1000"),
    ("GET", "K"),
    ("MGET", "K"),
    ("GETRANGE", "K", "0", "0"),
    ("EXISTS", "K"),
    ("PEXPIRE", "K", "1000"),
    ("PTTL", "K"),
    ("DEL", "K"),
    ("HSET", "K", "f", "1"),
    ("HSETNX", "K", "f", "1"),
    ("HINCRBY", "K", "f", "1"),
    ("HGET", "K", "f"),
    ("HMGET", "K", "f"),
    ("HEXISTS", "K", "f"),
    ("HVALS", "K"),
    ("HGETALL", "K"),
    ("HSCAN", "K", "0"),
    ("HDEL", "K", "f"),
    ("DEL", "K"),
    ("ZADD", "K", "0", "m"),
    ("ZRANGE", "K", "0", "0"),
    ("ZRANGEBYSCORE", "K", "0", "0"),
    ("ZRANGEBYLEX", "K", "-", "+"),
    ("ZSCORE", "K", "m"),
    ("ZSCAN", "K", "0"),
    ("ZCARD", "K"),
    ("ZREMRANGEBYRANK", "K", "5", "6"),
    ("ZREM", "K", "m"),
    ("DEL", "K"),
    ("XADD", "K", "*", "f", "v"),
    ("XGROUP", "CREATE", "K", "g", "0"),
    ("XREADGROUP", "GROUP", "g", "c", "COUNT", "1", "STREAMS", "K", ">"),
    ("XCLAIM", "K", "g", "c", "0", "1-1", "JUSTID"),
    ("XAUTOCLAIM", "K", "g", "c", "1000", "0-0", "COUNT", "1"),
    ("XINFO", "CONSUMERS", "K", "g"),
    ("XRANGE", "K", "-", "+", "COUNT", "1"),
    ("XLEN", "K"),
    ("XACK", "K", "g", "1-1"),
    ("XDEL", "K", "1-1"),
    ("XGROUP", "DELCONSUMER", "K", "g", "c"),
    ("DEL", "K"),
)
"""Each command of scripts and transactions on the key K, in an order in which each is valid."""

# KEYS: a key of its own. ARGV: commands as JSON. Returns those that the user may not run. An error
# of this kind has one of four forms, by version; other errors, such as READONLY, pass by themselves.
_REFUSED = """
local forms = {'ACL failure', 'NOPERM', "can't run this command", "can't access at least"}
local refused = {}
for _, row in ipairs(ARGV) do
  local command = cjson.decode(row)
  local name = command[1]
  for i, word in ipairs(command) do
    if word == 'K' then command[i] = KEYS[1] end
  end
  local reply = redis.pcall(unpack(command))
  local why = type(reply) == 'table' and reply.err or ''
  for _, form in ipairs(forms) do
    if string.find(why, form, 1, true) then refused[#refused + 1] = name end
  end
end
return refused
"""


async def fault(client: RedisClient) -> str | None:
    """Returns what must be changed before the service can work on this Redis.

    Returns:
        One line for whoever runs the service, or None if there is nothing.

    Raises:
        StoreUnavailable: Redis cannot be asked now.
    """
    if isinstance(client.directory, Sentinels) and (found := await _sentinels(client.directory)):
        return found
    try:
        told = await client.call("HELLO")
        refused = _server(client.address.kind, _as_mapping(told)) or await _refused(client)
    except StoreUnavailable as error:
        if found := _lasting(error):
            return found
        raise
    return refused


def _lasting(error: StoreUnavailable) -> str | None:
    """Returns what an error says of the configuration; None if it may pass by itself."""
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    code, message = code_of(cause), str(cause)
    if code == "WRONGPASS":
        return (
            "Redis refuses the user or the password: see RECLM_REDIS_URL and RECLM_REDIS_PASSWORD"
        )
    if code == "NOPERM":
        return f"the Redis user lacks a permission: {message}"
    if isinstance(cause, ResponseError) and "cluster support disabled" in message:
        return _NO_CLUSTER
    if isinstance(cause, ResponseError) and "unknown command" in message.lower():
        return f"Redis is older than {_dotted(OLDEST)}, which the service needs: {message}"
    return None


def _server(kind: str, told: Mapping[str, Any]) -> str | None:
    """Returns what is wrong with the server that describes itself so."""
    mode = told.get("mode", "standalone")
    if mode == "cluster" and kind != "cluster":
        return (
            "RECLM_REDIS_URL names a node of a Redis Cluster as if it stood alone: write "
            "redis+cluster://HOST:PORT, several nodes with commas between them"
        )
    if mode == "sentinel":
        return (
            "RECLM_REDIS_URL names a Sentinel as if it were the server: write "
            "redis+sentinel://HOST:PORT,HOST:PORT/SERVICE"
        )
    if mode != "cluster" and kind == "cluster":
        return (
            "RECLM_REDIS_URL names a cluster, but Redis runs without one: write redis://HOST:PORT"
        )
    version = str(told.get("version", "0"))
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if numbers < OLDEST:
        return f"Redis is of version {version}; the service needs {_dotted(OLDEST)} or newer"
    return None


async def _refused(client: RedisClient) -> str | None:
    """Returns which commands the user may not run."""
    rows = [json.dumps(command).encode() for command in INSIDE]
    names = {name.decode() for name in await client.run(_REFUSED, [client.probe], *rows)}
    if names:
        return (
            f"the Redis user may not run {', '.join(sorted(names))} on the keys of this tenant: see "
            "docs/how-to/operations.md for the permissions that the service needs"
        )
    return None


async def _sentinels(directory: Sentinels) -> str | None:
    """Returns what is wrong with the Sentinels."""
    for sentinel in directory.client.sentinels:
        try:
            masters = await sentinel.sentinel_masters()
        except RedisError as error:
            if code_of(error) == "WRONGPASS":
                return "the Sentinels refuse the password: see RECLM_REDIS_SENTINEL_PASSWORD"
            if isinstance(error, (RedisConnectionError, RedisTimeoutError)):
                continue
            return f"RECLM_REDIS_URL names Sentinels, but one of them is none: {error}"
        if directory.service not in masters:
            known = ", ".join(sorted(map(str, masters))) or "none"
            return (
                f"the Sentinels know no service {directory.service!r}, only: {known}. It stands after "
                "the hosts in RECLM_REDIS_URL"
            )
        return None
    return None


def _as_mapping(told: Any) -> dict[str, Any]:  # noqa: ANN401 - a reply
    """Returns the reply to HELLO, which is a list of names and values before RESP 3."""
    rows = told.items() if isinstance(told, dict) else zip(told[::2], told[1::2], strict=True)

    def text(value: Any) -> Any:  # noqa: ANN401
        return value.decode() if isinstance(value, bytes) else value

    return {text(name): text(value) for name, value in rows}


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
