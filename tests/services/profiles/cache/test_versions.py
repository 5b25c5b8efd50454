"""Two versions of the service over one store, as during an upgrade."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from services.profiles.cache.versions import Versions
from services.profiles.domain.requests import ProfileRequest
from services.profiles.errors import StoreUnavailable
from tests.services.profiles.cache.processes import (
    ASKED,
    BABE,
    HEAT,
    OLD,
    TENANT,
    U,
    World,
    key,
    version,
)

if TYPE_CHECKING:
    from services.profiles.cache.answer import ProfileAnswer
    from tests.services.profiles.cache.processes import Process

pytestmark = pytest.mark.anyio

NEW = version()


@pytest.fixture
async def upgrade(world: World) -> tuple[Process, Process]:
    """A process of the old version and one of the new, started in this order."""
    for one in (OLD, NEW):
        await world.store.announce(TENANT, one, starting=True, alive_s=60)
    return world.process(made_with=OLD), world.process(made_with=NEW)


async def renewed(process: Process) -> ProfileAnswer:
    """Waits until the stored profile is of the process's version."""
    async with asyncio.timeout(20):
        while (answer := await process.service.lookup(U)).status != "cached":  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    return answer


async def test_what_the_old_one_made_is_an_answer_while_the_new_one_is_made(
    world: World, upgrade: tuple[Process, Process]
) -> None:
    await world.put(U, request=ASKED, made_with=OLD)
    _, new = upgrade
    new.model.free.clear()
    answer = await new.service.profile(ASKED)
    assert (answer.status, answer.version) == ("stale", OLD.to_json())
    # Behind the answer, and in the background: one prompt, however many ask.
    assert (await new.model.asked.get()).background
    assert (await new.service.profile(ASKED)).status == "stale"
    new.model.free.set()
    assert (await renewed(new)).version == NEW.to_json()
    assert new.model.calls == 1


async def test_the_old_one_serves_what_the_new_one_made_and_makes_nothing(
    world: World, upgrade: tuple[Process, Process]
) -> None:
    await world.put(U, request=ASKED, made_with=NEW)
    stored = await world.store.get(U)
    old, _ = upgrade
    for request in (ASKED, replace(ASKED, background=True), ProfileRequest(U)):
        answer = await old.service.profile(request)
        assert (answer.status, answer.version) == ("stale", NEW.to_json())
    await old.service.drain(20)
    assert old.model.calls == 0
    assert await world.store.get(U) == stored


async def test_what_the_old_one_was_making_does_not_replace_the_new_one(
    world: World, upgrade: tuple[Process, Process]
) -> None:
    old, new = upgrade
    old.model.free.clear()
    asked = old.ask(ASKED)
    await old.model.asked.get()
    world.store.expire(U)
    assert (await new.service.profile(ASKED)).status == "generated"
    stored = await world.store.get(U)
    old.model.free.set()
    assert (await asked).status == "generated"
    assert await world.store.get(U) == stored
    outcomes = {one: old.outcomes(one) for one in ("stored", "overtaken", "outdated")}
    assert outcomes == {"stored": 0, "overtaken": 1, "outdated": 0}


async def test_who_waits_for_the_old_one_takes_what_the_new_one_made(
    world: World, upgrade: tuple[Process, Process]
) -> None:
    old, new = upgrade
    following = await world.led(new, old, ASKED)
    new.model.free.set()
    assert (await following).status == "stale"
    assert old.model.calls == 0


async def test_turn_and_turn_about_each_makes_it_once_at_most(
    world: World, upgrade: tuple[Process, Process]
) -> None:
    old, new = upgrade
    users = [key(f"u{n}") for n in range(20)]
    for turn in range(10):
        for number, user in enumerate(users):
            process = upgrade[(turn + number) % 2]
            await process.service.profile(ProfileRequest(user, (HEAT,)))
        await asyncio.gather(old.service.drain(20), new.service.drain(20))
    assert old.model.calls + new.model.calls <= 2 * len(users)
    for user in users:
        assert (await new.service.lookup(user)).version == NEW.to_json()


@pytest.mark.parametrize(
    "request_",
    [
        replace(ASKED, refresh=True),
        replace(ASKED, background=True),
        replace(ASKED, fallback=False),
        replace(ASKED, max_age_s=5),
        ProfileRequest(U, (BABE,)),
    ],
    ids=["refresh", "background", "no fallback", "young", "another history"],
)
async def test_who_needs_the_new_one_waits_for_it(
    request_: ProfileRequest, world: World, upgrade: tuple[Process, Process]
) -> None:
    await world.put(U, request=ASKED, made_with=OLD, age_s=30)
    _, new = upgrade
    answer = await new.service.profile(request_)
    assert (answer.status, answer.version) == ("generated", NEW.to_json())


async def test_what_is_too_old_is_no_answer(world: World) -> None:
    await world.put(U, request=ASKED, made_with=OLD, age_s=30)
    new = world.process(stale_max_age_s=10)
    assert (await new.service.profile(ASKED)).status == "generated"


async def test_a_version_that_nobody_knows_is_no_answer(world: World) -> None:
    await world.put(U, request=ASKED, made_with=OLD)
    world.store.forget_versions()
    assert (await world.process().service.profile(ASKED)).status == "generated"


async def test_what_cannot_be_renewed_stays(world: World, caplog: pytest.LogCaptureFixture) -> None:
    await world.put(U, request=ASKED, made_with=OLD)
    process = world.process()
    process.encoder.broken = True
    assert (await process.service.profile(ASKED)).status == "stale"
    await process.service.drain(20)
    assert "stays outdated" in caplog.text
    assert (await process.service.lookup(U)).status == "stale"


async def test_of_a_user_with_nothing_to_read_the_old_one_stays(world: World) -> None:
    await world.put(U, made_with=OLD)
    process = world.process()
    assert (await process.service.profile(ProfileRequest(U))).status == "stale"
    await process.service.drain(20)
    assert process.model.calls == 0


async def test_no_more_are_renewed_at_a_time_than_may_wait(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    process = world.process(max_waiting=1)
    process.model.free.clear()
    for name in "ab":
        await world.put(key(name), made_with=OLD, request=ProfileRequest(key(name), (HEAT,)))
    for name in "ab":
        assert (await process.service.profile(ProfileRequest(key(name), (HEAT,)))).status == "stale"
    assert "stays outdated" in caplog.text
    process.model.free.set()
    await process.service.drain(20)
    assert process.model.calls == 1


async def test_what_a_trial_left_behind_is_replaced(world: World) -> None:
    await world.put(U, request=ASKED, made_with=NEW)
    old = world.process(made_with=OLD)
    assert (await old.service.profile(ASKED)).status == "stale"
    assert (await renewed(old)).version == OLD.to_json()


async def test_versions_are_announced_and_followed(world: World) -> None:
    old = Versions(store=world.store, tenant=TENANT, own=OLD, alive_s=0.03)
    new = Versions(store=world.store, tenant=TENANT, own=NEW, alive_s=0.03)
    async with asyncio.timeout(20), old.following():
        while OLD.digest() not in world.store.order(TENANT):  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        async with new.following():
            while not await old.newer(NEW.digest()):  # noqa: ASYNC110
                await asyncio.sleep(0.001)
            assert not await new.newer(OLD.digest())
            assert await old.document_of(NEW.digest()) == NEW.to_json()


async def test_without_a_store_versions_are_asked_for_again(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.store.down = {"announce"}
    versions = Versions(store=world.store, tenant=TENANT, own=NEW, alive_s=0.03)
    async with asyncio.timeout(20), versions.following():
        while "versions were not read" not in caplog.text:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        with pytest.raises(StoreUnavailable):
            await versions.newer(OLD.digest())
        world.store.down = set()
        while NEW.digest() not in world.store.order(TENANT):  # noqa: ASYNC110
            await asyncio.sleep(0.001)
