"""Requests beside refreshes: they read what users did, and bring nobody back who is erased."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from services.profiles.domain.requests import ProfileRequest
from services.profiles.errors import NothingToRead, ProfileErased
from services.profiles.stores import codec
from services.profiles.stores.redis.catalogue import RedisCatalogue
from tests.services.profiles.refresh.worker import Worker, eventually, single_flight

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.profiles.cache.answer import ProfileAnswer

pytestmark = pytest.mark.anyio


async def test_who_is_erased_while_refreshed_stays_erased(make: Callable[..., Worker]) -> None:
    worker = make()
    worker.refresher.start()
    await worker.did("waits", "heat")
    await worker.profiles.erase(worker.key("waits"))
    worker.generator.let.clear()
    await worker.did("is made", "heat")
    await eventually(lambda: worker.generator.asked)
    await worker.profiles.erase(worker.key("is made"))
    worker.generator.let.set()
    await eventually(worker.idle)
    assert len(worker.generator.asked) == 1
    assert worker.counted("refreshed") == 0
    for user in ("waits", "is made"):
        assert codec.look(await worker.store.get(worker.key(user))) is None
        assert await worker.recorder.events(user) == []


async def test_a_history_read_before_an_erasure_brings_nobody_back(
    make: Callable[..., Worker],
) -> None:
    worker = make()
    profile = worker.profiles.profile

    async def erased_first(request: ProfileRequest) -> Any:
        await worker.profiles.erase(request.key)
        return await profile(request)

    worker.profiles.profile = erased_first  # type: ignore[method-assign]  # erases at the worst moment
    worker.refresher.start()
    await worker.did("u", "heat")
    await eventually(lambda: worker.counted("erased"))
    assert codec.look(await worker.store.get(worker.key("u"))) is None


async def waiting_behind_others(worker: Worker, user: str) -> list[asyncio.Task[ProfileAnswer]]:
    """Asks in the background: for users who take all the turns, and for one who has to wait."""
    worker.generator.let.clear()
    asked = []
    for id_ in ("a", "b", "c", user):
        await worker.did(id_, "heat")
        request = ProfileRequest(worker.key(id_), background=True)
        asked.append(asyncio.create_task(worker.profiles.profile(request)))
        await eventually(lambda: len(single_flight(worker)) == len(asked))
    await eventually(lambda: len(worker.generator.asked) == 3)
    return asked


async def test_who_is_erased_while_a_request_waits_for_its_turn_stays_erased(
    make: Callable[..., Worker],
) -> None:
    worker = make()
    *others, waiting = await waiting_behind_others(worker, "u")
    await worker.profiles.erase(worker.key("u"))
    worker.generator.let.set()
    with pytest.raises(ProfileErased):
        await waiting
    await asyncio.gather(*others)
    assert codec.look(await worker.store.get(worker.key("u"))) is None
    assert len(worker.generator.asked) == 3


async def test_what_a_user_does_while_a_request_waits_for_its_turn_is_read(
    make: Callable[..., Worker],
) -> None:
    worker = make()
    *others, waiting = await waiting_behind_others(worker, "u")
    await worker.did("u", "babe", at=2_000)
    worker.generator.let.set()
    assert (await waiting).status == "generated"
    await asyncio.gather(*others)
    assert "Babe" in worker.generator.asked[-1].messages[-1].content


async def test_a_request_without_a_history_reads_what_the_user_did(
    make: Callable[..., Worker],
) -> None:
    worker = make()
    request = ProfileRequest(worker.key("u"))
    with pytest.raises(NothingToRead):
        await worker.profiles.profile(request)
    await worker.did("u", "heat", "babe")
    await RedisCatalogue(worker.client).delete_item(worker.tenant, "babe")
    assert (await worker.profiles.profile(request)).status == "generated"
    assert "Heat" in worker.generator.asked[0].messages[-1].content
    assert (await worker.profiles.profile(request)).status == "cached"
    again = ProfileRequest(worker.key("u"), refresh=True)
    assert (await worker.profiles.profile(again)).status == "generated"


async def test_a_cached_profile_is_one_round_trip_whatever_the_user_did(
    make: Callable[..., Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = make()
    request = ProfileRequest(worker.key("u"))
    await worker.did("u", "heat")
    await worker.profiles.profile(request)
    commands: list[Any] = []
    call = worker.client.call

    async def counted(*command: Any) -> Any:
        commands.append(command[0])
        return await call(*command)

    monkeypatch.setattr(worker.client, "call", counted)
    assert (await worker.profiles.profile(request)).status == "cached"
    assert commands == ["MGET"]
