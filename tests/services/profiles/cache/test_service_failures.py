"""The service on stores in memory: what it answers when something fails, or time is up."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.profiles.cache import service as module
from services.profiles.errors import EncoderUnavailable, ModelUnavailable, StoreUnavailable
from tests.services.profiles.cache.processes import ASKED, OLD, U, World, version

pytestmark = pytest.mark.anyio


async def test_an_older_profile_stands_in_for_a_model_that_is_down(world: World) -> None:
    await world.put(U, made_with=OLD)
    process = world.process()
    process.model.script.append(ModelUnavailable("not there"))
    answer = await process.service.profile(ASKED)
    assert (answer.status, answer.version) == ("stale", OLD.to_json())


async def test_without_an_older_one_the_failure_is_the_answer(world: World) -> None:
    process = world.process()
    process.model.script.append(ModelUnavailable("not there"))
    with pytest.raises(ModelUnavailable, match="not there"):
        await process.service.profile(ASKED)
    assert process.counted("generated") == 0


async def test_who_takes_no_older_one_is_told(world: World) -> None:
    await world.put(U, request=ASKED, made_with=OLD)
    process = world.process()
    process.model.script.append(ModelUnavailable("not there"))
    with pytest.raises(ModelUnavailable):
        await process.service.profile(replace(ASKED, fallback=False))


async def test_the_lenient_get_a_degraded_profile(world: World) -> None:
    process = world.process()
    process.model.script.append(ModelUnavailable("not there"))
    answer = await process.service.profile(replace(ASKED, lenient=True))
    assert answer.status == "degraded"
    assert b'"interested in Crime"' in answer.document(embedding=False)
    assert await world.store.get(U) is None


async def test_an_encoder_that_is_down_fails_a_degraded_profile(world: World) -> None:
    process = world.process()
    process.encoder.broken = True
    with pytest.raises(EncoderUnavailable):
        await process.service.profile(replace(ASKED, lenient=True))


async def test_a_generation_has_a_limit(world: World) -> None:
    process = world.process(generation_timeout_s=0.05)
    process.model.free.clear()
    with pytest.raises(ModelUnavailable, match=r"within 0\.05 s"):
        await process.service.profile(ASKED)
    assert (await world.store.acquire(U)).lease is not None, "no lease is left behind"


async def test_a_profile_that_cannot_be_stored_is_answered(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.store.down = {"commit"}
    answer = await world.process().service.profile(ASKED)
    assert answer.status == "generated"
    assert "could not be stored" in caplog.text
    assert await world.store.get(U) is None


async def test_a_lease_that_cannot_be_ended_hides_no_failure(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.store.down = {"give_up"}
    process = world.process()
    process.model.script.append(ModelUnavailable("not there"))
    with pytest.raises(ModelUnavailable):
        await process.service.profile(ASKED)
    assert "left to run out" in caplog.text


async def test_a_store_that_is_down_is_told(world: World) -> None:
    world.store.down = {"acquire"}
    with pytest.raises(StoreUnavailable):
        await world.process().service.profile(replace(ASKED, lenient=True))


async def test_in_time_is_as_without(world: World) -> None:
    process = world.process()
    answer = await process.service.profile(replace(ASKED, deadline_s=60))
    assert answer.status == "generated"


async def test_a_degraded_profile_comes_in_time_and_the_real_one_follows(world: World) -> None:
    process = world.process()
    process.model.free.clear()
    answer = await process.service.profile(replace(ASKED, deadline_s=0.05))
    assert answer.status == "degraded"
    assert answer.version == version().to_json()
    assert await world.store.get(U) is None
    following = process.ask(ASKED)
    process.model.free.set()
    assert (await following).status == "generated"
    assert process.model.calls == 1


async def test_an_older_profile_comes_before_a_degraded_one(world: World) -> None:
    await world.put(U)
    process = world.process()
    process.model.free.clear()
    answer = await process.service.profile(replace(ASKED, deadline_s=0.05))
    assert answer.status == "stale"


async def test_a_store_that_does_not_answer_in_time_is_told(world: World) -> None:
    world.store.free.clear()
    with pytest.raises(StoreUnavailable, match="deadline"):
        await world.process().service.profile(replace(ASKED, deadline_s=0.05))


async def test_an_encoder_that_does_not_answer_in_time_is_told(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_DEGRADED_S", 0.05)
    process = world.process()
    process.model.free.clear()
    process.encoder.free.clear()
    with pytest.raises(EncoderUnavailable, match=r"degraded profile within 0\.05 s"):
        await process.service.profile(replace(ASKED, deadline_s=0.05))
