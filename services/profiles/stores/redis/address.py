"""Reads RECLM_REDIS_URL: one server, a set of Sentinels, or a cluster."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import unquote

from redis.asyncio.connection import SSLConnection, parse_url

if TYPE_CHECKING:
    from collections.abc import Mapping

Node = tuple[str, int]
"""Host and port."""

_SCHEMES = "redis://, rediss:// or unix://, and with +sentinel or +cluster after redis or rediss"
_HOST = re.compile(r"(?P<host>\[[0-9A-Fa-f:.%]+\]|[^\[\]:,@/]+)(?::(?P<port>\d{1,5}))?")


@dataclass(frozen=True, slots=True)
class Address:
    """Where Redis is.

    Attributes:
        kind: What stands at the address.
        nodes: The Sentinels, or some nodes of the cluster; empty for one server.
        service: The name under which the Sentinels know the server; empty without Sentinels.
        options: What redis-py needs to connect: credentials, database, TLS, and of one server the
            host and port or the path of its socket.
        sentinel_user: The user at the Sentinels, if they have users of their own.
    """

    kind: Literal["server", "sentinel", "cluster"]
    nodes: tuple[Node, ...]
    service: str
    options: Mapping[str, Any] = field(repr=False)
    sentinel_user: str | None = None


def parse(url: str, *, password: str | None = None) -> Address:
    """Reads a URL.

    Args:
        url: redis://, rediss://, unix://, redis+sentinel://HOST:PORT,HOST:PORT/SERVICE/DATABASE or
            redis+cluster://HOST:PORT,HOST:PORT; rediss+ for TLS. A query holds options of redis-py.
        password: For a URL without one.

    Raises:
        ValueError: The URL is none of these. The message does not hold its secrets.
    """
    scheme, separator, rest = url.partition("://")
    base, _, kind = scheme.lower().partition("+")
    given = {} if password is None else {"password": password}
    if not separator or base not in {"redis", "rediss", "unix"} or (base == "unix" and kind):
        raise ValueError(f"RECLM_REDIS_URL must begin with {_SCHEMES}")
    if not kind:
        return Address("server", (), "", given | _options(url))
    if kind == "sentinel":
        return _sentinels(base, rest, given)
    if kind == "cluster":
        return _cluster(base, rest, given)
    raise ValueError(f"RECLM_REDIS_URL must begin with {_SCHEMES}")


def _sentinels(base: str, rest: str, given: dict[str, Any]) -> Address:
    before, path, query = _split(rest)
    service, slash, database = path.removeprefix("/").partition("/")
    if not service:
        raise ValueError(
            "RECLM_REDIS_URL names Sentinels but no service: write "
            "redis+sentinel://HOST:PORT,HOST:PORT/SERVICE, or /SERVICE/DATABASE"
        )
    nodes, options = _several(base, before, slash + database + query, port=26379)
    user = options.pop("sentinel_username", None)
    return Address("sentinel", nodes, unquote(service), given | options, user)


def _cluster(base: str, rest: str, given: dict[str, Any]) -> Address:
    before, path, query = _split(rest)
    nodes, options = _several(base, before, path + query, port=6379)
    if options.get("db"):
        raise ValueError(
            f"RECLM_REDIS_URL names database {options['db']}, but a Redis Cluster has database 0 only"
        )
    return Address("cluster", nodes, "", given | options)


def _several(
    base: str, before: str, after: str, *, port: int
) -> tuple[tuple[Node, ...], dict[str, Any]]:
    """Returns the nodes that stand before a path, and the options of connections to one of them."""
    user, at, hosts = before.rpartition("@")
    nodes = tuple(_node(host, port) for host in hosts.split(","))
    # The URL of one server with the same credentials, database and options: redis-py reads it.
    options = _options(f"{base}://{user}{at}localhost{after}")
    del options["host"]
    if options.pop("connection_class", None) is SSLConnection:
        options["ssl"] = True
    return nodes, options


def _split(rest: str) -> tuple[str, str, str]:
    """Returns what stands before the path, the path, and the query with its question mark."""
    before, mark, query = rest.partition("?")
    authority, slash, path = before.partition("/")
    return authority, slash + path, mark + query


def _node(text: str, port: int) -> Node:
    match = _HOST.fullmatch(text)
    if match is None or int(match["port"] or port) > 65535:
        raise ValueError(
            "RECLM_REDIS_URL needs HOST or HOST:PORT, several with commas between them; one of them "
            "is neither"
        )
    return match["host"].strip("[]"), int(match["port"] or port)


def _options(url: str) -> dict[str, Any]:
    path = _split(url.partition("://")[2])[1]
    if not url.startswith("unix") and not re.fullmatch(r"/?\d*", path):
        raise ValueError("RECLM_REDIS_URL must end in the number of a database, such as /0")
    try:
        return dict(parse_url(url))
    except (ValueError, TypeError):
        # Not chained: the message may hold a part of the URL, and so a secret.
        raise ValueError(
            "RECLM_REDIS_URL cannot be read: percent-encode /, @, : and ? in user and password, and "
            "check port and options"
        ) from None
