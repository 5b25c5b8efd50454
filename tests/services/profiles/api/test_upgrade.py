"""Two versions of the service under alternating load, on one real Redis."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING

import pytest

from tests.support.asgi import running
from tests.support.profiles import HEAT

if TYPE_CHECKING:
    from services.profiles.settings import Settings
    from tests.support.model_server import ModelServer

pytestmark = pytest.mark.anyio

USERS, REQUESTS, AT_ONCE = 100, 10_000, 20


async def test_each_profile_is_made_twice_at_most(settings: Settings, model: ModelServer) -> None:
    newer = settings.model_copy(update={"adapter": "next", "adapter_hash": "1"})
    async with running(settings) as old, running(newer) as new:
        turns = itertools.cycle((old, new))
        numbers = iter(range(REQUESTS))
        statuses: set[str] = set()

        async def load() -> None:
            for number in numbers:
                body = {"id": f"u{number // 2 % USERS}", "history": [HEAT]}
                answer = await next(turns).post("/profiles/user", json=body)
                assert answer.status_code == 200
                statuses.add(answer.json()["status"])

        await asyncio.gather(*(load() for _ in range(AT_ONCE)))
        assert "stale" in statuses
        assert USERS <= len(model.requests) <= 2 * USERS
        for number in range(USERS):
            found = (await new.get(f"/profiles/user/u{number}")).json()
            assert (found["status"], found["version"]["adapter"]["name"]) == ("cached", "next")
        assert len(model.requests) <= 2 * USERS
