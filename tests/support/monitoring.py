"""What one test asked of a Redis that it shares with services running beside it."""

from __future__ import annotations

import contextlib
import secrets
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    import redis


@contextlib.contextmanager
def commands_naming(server: redis.Redis, word: str) -> Iterator[list[str]]:
    """Collects the names of commands that clients send within, and that have `word` in them.

    The list is filled when the context ends. A script is one command, whatever it calls.
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
