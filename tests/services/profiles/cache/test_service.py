"""The service on stores in memory: what it finds, reads, generates and erases."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from services.profiles.domain.requests import ProfileRequest
from services.profiles.errors import NothingToRead, ProfileErased, ProfileNotFound, UnknownItems
from services.profiles.stores import codec
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
    from collections.abc import Sequence

    from services.profiles.stores.base import Lease

pytestmark = pytest.mark.anyio


async def test_a_missing_profile_is_generated_and_then_cached(world: World) -> None:
    process = world.process()
    first = await process.service.profile(ASKED)
    again = await process.service.profile(ASKED)
    assert (first.status, again.status) == ("generated", "cached")
    assert again.stored.value == first.stored.value == await world.store.get(U)
    assert first.version == version().to_json()
    assert b'"film lover"' in again.document(embedding=False)
    assert b'"embedding":[1.0]' in again.document(embedding=True)
    value = again.profile(embedding=True)
    assert (value.id, value.status, value.version) == ("u", "cached", version())
    assert value.embedding == (1.0,)
    assert again.profile(embedding=False).embedding is None
    assert process.model.calls == 1
    assert (process.counted("generated"), process.counted("cached")) == (1, 1)


async def test_any_profile_serves_a_request_that_names_nothing(world: World) -> None:
    await world.put(U, request=ASKED)
    assert (await world.process().service.profile(ProfileRequest(U))).status == "cached"


async def test_another_history_makes_another_profile(world: World) -> None:
    process = world.process()
    await process.service.profile(ASKED)
    other = await process.service.profile(ProfileRequest(U, (HEAT, BABE)))
    assert other.status == "generated"
    assert process.model.calls == 2


async def test_the_same_input_by_another_name_is_not_generated_again(world: World) -> None:
    process = world.process()
    first = await process.service.profile(ProfileRequest(U, (HEAT,)))
    named = ProfileRequest(U, ("heat",))
    again = await process.service.profile(named)
    assert again.status == "cached"
    assert again.stored.created_ms == first.stored.created_ms
    assert process.model.calls == 1
    assert again.stored.request_digest == named.digest()
    # It is kept under the other name: no look at the catalogue the next time.
    await world.stores.catalogue.delete_item(TENANT, "heat")
    assert (await process.service.profile(named)).status == "cached"


async def test_a_refresh_generates_even_the_same_input(world: World) -> None:
    process = world.process()
    await world.put(U, request=ASKED, age_s=5)
    answer = await process.service.profile(replace(ASKED, refresh=True))
    assert answer.status == "generated"
    assert (await process.service.lookup(U)).stored.created_ms == answer.stored.created_ms


@pytest.mark.parametrize(("max_age_s", "status"), [(60.0, "cached"), (10.0, "generated")])
async def test_a_profile_that_is_too_old_is_made_anew(
    max_age_s: float, status: str, world: World
) -> None:
    await world.put(U, request=ASKED, age_s=30)
    request = replace(ASKED, max_age_s=max_age_s)
    assert (await world.process().service.profile(request)).status == status


async def test_an_item_is_read_from_the_catalogue(world: World) -> None:
    process = world.process()
    request = ProfileRequest(key("heat", "item"))
    assert (await process.service.profile(request)).status == "generated"
    assert "Heat (1995)" in (await process.model.asked.get()).messages[-1].content
    assert process.counted("generated", "item") == 1


async def test_embeddings_are_those_that_are_stored(world: World) -> None:
    await world.put(U)
    found = await world.process().service.embeddings([key("nobody"), U])
    assert found[0] is None
    assert found[1] is not None
    assert found[1].vector.tolist() == [1.0]


async def test_the_version_is_told(world: World) -> None:
    assert world.process().service.version == version()


async def test_a_request_without_a_history_reads_what_is_recorded(world: World) -> None:
    process = world.process()
    await world.did("heat")
    assert (await process.service.profile(ProfileRequest(U))).status == "generated"
    assert "Heat (1995)" in (await process.model.asked.get()).messages[-1].content


async def test_events_between_request_and_lease_are_read(world: World) -> None:
    process = world.process()
    await world.did("heat")
    process.model.free.clear()
    for name in "abc":
        process.ask(ProfileRequest(key(name), (HEAT,), background=True))
        await process.model.asked.get()
    # All turns of the background are taken: this one waits before it has a lease.
    waiting = process.ask(ProfileRequest(U, background=True))
    await process.joined(4)
    await world.did("babe", at=10)
    process.model.free.set()
    assert (await waiting).status == "generated"
    read = (await process.model.asked.get()).messages[-1].content
    assert "Heat" in read
    assert "Babe" in read


async def test_erased_between_request_and_lease_is_not_made(world: World) -> None:
    process = world.process()
    await world.did("heat")
    process.model.free.clear()
    for name in "abc":
        process.ask(ProfileRequest(key(name), (HEAT,), background=True))
        await process.model.asked.get()
    waiting = process.ask(ProfileRequest(U, background=True))
    await process.joined(4)
    assert await process.service.erase(U) is False
    process.model.free.set()
    with pytest.raises(ProfileErased, match="send the request again"):
        await waiting
    assert process.model.calls == 3
    assert codec.look(await world.store.get(U)) is None
    # Whoever brings a history of their own need not wait for a lease to expire.
    assert (await process.service.profile(ASKED)).status == "generated"


async def test_nothing_to_read_is_said(world: World) -> None:
    service = world.process().service
    with pytest.raises(NothingToRead, match="no profile under this id"):
        await service.profile(ProfileRequest(U))
    await world.put(U)
    with pytest.raises(NothingToRead, match="`refresh` needs"):
        await service.profile(ProfileRequest(U, refresh=True))
    with pytest.raises(UnknownItems):
        await service.profile(ProfileRequest(U, ("unknown",)))


async def test_an_older_profile_is_given_where_there_is_nothing_to_read(world: World) -> None:
    await world.put(U, made_with=OLD)
    process = world.process()
    answer = await process.service.profile(ProfileRequest(U))
    assert (answer.status, answer.version) == ("stale", OLD.to_json())
    assert process.counted("stale") == 1


async def test_what_is_stored_is_found_and_nothing_is_generated(world: World) -> None:
    process = world.process()
    with pytest.raises(ProfileNotFound, match="no user profile"):
        await process.service.lookup(U)
    await world.put(U)
    assert (await process.service.lookup(U)).status == "cached"
    assert process.model.calls == 0


async def test_another_version_is_stale_and_named(world: World) -> None:
    service = world.process().service
    await world.put(U, made_with=OLD)
    for _ in range(2):  # read from the store, then remembered
        answer = await service.lookup(U)
        assert (answer.status, answer.version) == ("stale", OLD.to_json())


async def test_a_version_that_is_lost_makes_the_profile_unknown(world: World) -> None:
    await world.put(U, made_with=OLD)
    world.store._versions.clear()
    with pytest.raises(ProfileNotFound, match="version"):
        await world.process().service.lookup(U)


async def test_all_of_a_user_goes(world: World) -> None:
    service = world.process().service
    await world.did("heat")
    await world.stores.refreshes.schedule(TENANT, ["u"])
    await world.put(U)
    assert await service.erase(U) is True
    assert await service.erase(U) is False
    assert await world.stores.interactions.history(TENANT, "u", limit=9) == []
    left = await world.stores.refreshes.take(TENANT, "w", most=0, holding=())
    assert left.waiting == 0


async def test_what_is_being_generated_is_answered_and_not_stored(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    process = world.process()
    process.model.free.clear()
    asked = process.ask(ASKED)
    await process.model.asked.get()
    await process.service.erase(U)
    process.model.free.set()
    with caplog.at_level(logging.INFO):
        assert (await asked).status == "generated"
    assert process.outcomes("erased") == 1
    assert codec.look(await world.store.get(U)) is None


async def test_a_lease_that_is_lost_is_not_renewed(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    process = world.process(lease_s=0.03)
    process.model.free.clear()
    asked = process.ask(ASKED)
    await process.model.asked.get()
    lost = asyncio.Event()
    renew = world.store.renew

    async def seen(leases: Sequence[Lease]) -> list[bool]:
        kept = await renew(leases)
        if not all(kept):
            lost.set()
        return kept

    world.store.renew = seen  # type: ignore[method-assign]
    await process.service.erase(U)
    with caplog.at_level(logging.INFO):
        await lost.wait()
        process.model.free.set()
        assert (await asked).status == "generated"
    assert "a lease was lost" in caplog.text
    assert codec.look(await world.store.get(U)) is None
