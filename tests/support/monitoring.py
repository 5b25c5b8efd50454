"""Records the commands that clients send to a Redis."""

from __future__ import annotations

import contextlib
import secrets
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    import redis


@contextlib.contextmanager
def commands_naming(server: redis.Redis, word: str) -> Iterator[list[str]]:
    """Collects the names of the commands with `word` in them that clients send within the block.

    The list is filled at the end of the block. A script counts as one command.
    """
    found: list[str] = []
    end = secrets.token_hex(8)
    with server.monitor() as monitor:
        yield found
        server.echo(end)
        for seen in monitor.listen():
            if end in seen["command"]:
                break
            if seen["client_type"] != "lua" and word in seen["command"]:
                found.append(seen["command"].split()[0].upper())
