"""What Redis must be and allow, on real servers, and on one that says it is old."""

from __future__ import annotations

import asyncio
import re
import secrets
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr
from pydantic_settings import SettingsError

from services.profiles.server import require_usable_store
from services.profiles.settings import Settings
from services.profiles.stores import redis as stores
from services.profiles.stores.redis import requirements
from services.profiles.stores.redis.client import RedisClient
from tests.support.processes import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.support.servers import RedisServer

pytestmark = pytest.mark.anyio

PAGE = Path(__file__).parents[5] / "docs" / "how-to" / "operations.md"
SOURCES = Path(stores.__file__).parent


@asynccontextmanager
async def client(url: str, **options: str) -> AsyncIterator[RedisClient]:
    made = RedisClient(url=url, timeout_s=5, connections=2, **options)  # type: ignore[arg-type]
    yield made
    await made.aclose()


@pytest.fixture
def user(redis_server: RedisServer) -> Iterator[str]:
    """A user of the shared server, who may do nothing yet."""
    name = secrets.token_hex(6)
    with redis_server.client() as server:
        server.acl_setuser(name, enabled=True, passwords=["+pw"])
        yield name
        server.acl_deluser(name)


def test_the_commands_that_are_checked_are_those_of_the_stores() -> None:
    used = set()
    for file in SOURCES.glob("*.py"):
        if file.name != "requirements.py":
            text = file.read_text()
            used |= set(re.findall(r"redis\.p?call\('(\w+)'", text))
            used |= set(
                re.findall(r'(?:call|transaction|commands\.append)\(\s*\(*"([A-Z]+)"', text)
            )
            used |= set(re.findall(r'^\s*\("([A-Z]+)"', text, re.MULTILINE))
    checked = (
        {command[0] for command in requirements.INSIDE}
        | requirements.OUTSIDE
        | requirements.OPTIONAL
    )
    assert used - checked == set()
    assert len(used) > 25


async def test_the_permissions_in_the_documentation_are_enough(
    redis_server: RedisServer, user: str
) -> None:
    (rules,) = re.findall(r"ACL SETUSER reclm on >PASSWORD (.*)", PAGE.read_text())
    with redis_server.client() as server:
        server.execute_command("ACL", "SETUSER", user, *rules.split())
    async with client(f"redis://{user}:pw@127.0.0.1:{redis_server.port}/0") as redis:
        assert await requirements.fault(redis) is None
        await redis.prove()


@pytest.mark.parametrize(
    ("rules", "told"),
    [
        ("~* +@all -zadd -xgroup", "may not run XGROUP, ZADD on the keys of this tenant"),
        ("~{other}* +@all", "lacks a permission"),
        ("~* +@all -evalsha", "lacks a permission"),
    ],
)
async def test_missing_permissions_are_named(
    redis_server: RedisServer, user: str, rules: str, told: str
) -> None:
    with redis_server.client() as server:
        server.execute_command("ACL", "SETUSER", user, *rules.split())
    async with client(f"redis://{user}:pw@127.0.0.1:{redis_server.port}/0") as redis:
        assert told in str(await requirements.fault(redis))


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("redis://nobody:wrong@127.0.0.1:{port}/0", "refuses the user or the password"),
        ("redis+cluster://127.0.0.1:{port}", "names a cluster, but Redis runs as none"),
        ("redis+sentinel://127.0.0.1:{port}/films", "but one of them is none"),
        ("redis+cluster://127.0.0.1:{port}/3", "database 3, but a Redis Cluster has database 0"),
    ],
)
def test_what_the_address_does_not_say_is_refused_before_the_start(
    redis_server: RedisServer, url: str, told: str
) -> None:
    settings = Settings(redis_url=SecretStr(url.format(port=redis_server.port)))
    with pytest.raises(SettingsError, match=told) as refused:
        require_usable_store(settings)
    assert "wrong" not in str(refused.value)


def test_a_server_that_is_down_is_no_reason_not_to_start() -> None:
    require_usable_store(Settings(redis_url=SecretStr(f"redis://127.0.0.1:{free_port()}/0")))
    require_usable_store(Settings(store="memory"))


async def _old(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers HELLO as Redis 6.0 does, and everything else with OK."""
    fields = b"server redis version 6.0.16 mode standalone role master".split()
    hello = b"%%%d\r\n" % (len(fields) // 2)
    hello += b"".join(b"+%s\r\n" % field for field in fields)
    while line := await reader.readline():
        words = []
        for _ in range(int(line[1:])):
            await reader.readline()
            words.append((await reader.readline()).strip())
        writer.write(hello if words[0] == b"HELLO" else b"+OK\r\n")
        await writer.drain()
    writer.close()


async def test_an_old_server_is_refused() -> None:
    async with await asyncio.start_server(_old, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with client(f"redis://127.0.0.1:{port}") as redis:
            assert await requirements.fault(redis) == (
                "Redis is of version 6.0.16; the service needs 6.2 or newer"
            )
