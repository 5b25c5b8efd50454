"""What a store says of copies of what was erased."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from services.profiles.errors import StoreUnavailable
from services.profiles.stores.redis.erasures import RedisErasures

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.services.profiles.stores.conftest import Deployment

    Deploy = Callable[..., Deployment]

pytestmark = pytest.mark.anyio


class Told:
    """Answers INFO as a server does; without a section it refuses."""

    def __init__(self, **sections: dict[str, Any]) -> None:
        self._sections = sections

    async def call(self, command: str, section: str) -> dict[str, Any]:
        assert command == "INFO"
        if section not in self._sections:
            raise StoreUnavailable("NoPermissionError")
        return self._sections[section]


async def wheres(**sections: dict[str, Any]) -> list[str]:
    erasures = RedisErasures(Told(**sections))  # type: ignore[arg-type]
    return [copy.where for copy in await erasures.copies()]


async def test_every_store_answers(deploy: Deploy) -> None:
    for copy in await deploy().one.erasures.copies():
        assert copy.where
        assert copy.until


async def test_files_and_replicas_are_named() -> None:
    file, snapshot, replicas = await wheres(
        persistence={"aof_enabled": 1, "rdb_last_save_time": 1796040000},
        replication={"connected_slaves": 2},
    )
    assert file.startswith("append-only file of Redis")
    assert "the last is of 2026-11-30T12:00:00+00:00 or before" in snapshot
    assert replicas.startswith("2 replica(s) of Redis")


async def test_what_there_is_not_is_not_named() -> None:
    found = await wheres(persistence={"aof_enabled": 0}, replication={"connected_slaves": 0})
    assert found == []


async def test_a_server_that_refuses_is_named_as_unknown() -> None:
    (only,) = await wheres(persistence={})
    assert only == "files and replicas of Redis, which did not tell of them"
