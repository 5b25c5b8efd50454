"""Profiles when the texts that they were made from change, and when items are withdrawn."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from services.profiles.domain.profile import Item
from services.profiles.domain.requests import ProfileRequest
from services.profiles.errors import ItemWithdrawn, StoreUnavailable, UnknownItems
from services.profiles.stores import codec
from tests.services.profiles.cache.processes import BABE, HEAT, TENANT, U, World, key

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.profiles.cache.answer import ProfileAnswer
    from tests.services.profiles.cache.processes import Process

pytestmark = pytest.mark.anyio

BY_ID = ProfileRequest(U, ("heat",))
FILM = key("heat", "item")
THIRD = Item("alien", "Alien (1979)", "Horror")


@pytest.fixture
async def process(world: World) -> Process:
    process = world.process()
    await process.changes.read()
    return process


class Reads:
    """Counts the items that are read from the catalogue."""

    def __init__(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        self.items = 0
        read = world.stores.catalogue.get_items

        async def counted(tenant: str, ids: Sequence[str]) -> Any:
            self.items += len(ids)
            return await read(tenant, ids)

        monkeypatch.setattr(world.stores.catalogue, "get_items", counted)


@pytest.fixture
def reads(world: World, monkeypatch: pytest.MonkeyPatch) -> Reads:
    return Reads(world, monkeypatch)


async def put(world: World, process: Process, *items: Item) -> None:
    """Changes the catalogue, and has a process hear of it."""
    await world.stores.catalogue.put_items(TENANT, items)
    await process.changes.read()


def asked(process: Process) -> str:
    """Returns the last prompt."""
    request = None
    while not process.model.asked.empty():
        request = process.model.asked.get_nowait()
    assert request is not None
    return request.messages[-1].content


@pytest.mark.parametrize(
    "request_", [BY_ID, ProfileRequest(FILM), ProfileRequest(FILM, ("heat", "babe"))]
)
async def test_a_changed_text_renews_the_profile_when_it_is_next_asked_for(
    world: World, process: Process, request_: ProfileRequest
) -> None:
    first = await process.service.profile(request_)
    await put(world, process, replace(HEAT, title="Ronin (1998)"))
    second = await process.service.profile(request_)
    assert second.status == "generated"
    assert second.stored.input_hash != first.stored.input_hash
    assert "Ronin" in asked(process)
    assert (await process.service.profile(request_)).status == "cached"
    assert process.model.calls == 2


async def test_a_request_that_names_nothing_is_renewed_from_what_is_recorded(
    world: World, process: Process
) -> None:
    await world.did("heat", "babe")
    await process.service.profile(ProfileRequest(U))
    await put(world, process, replace(BABE, category="Family"))
    assert (await process.service.profile(ProfileRequest(U))).status == "generated"
    assert "Family" in asked(process)


async def test_a_hit_reads_no_item_whatever_else_changes(
    world: World, process: Process, reads: Reads
) -> None:
    await process.service.profile(BY_ID)
    reads.items = 0
    for number in range(20):
        await put(
            world, process, Item(f"other-{number}", "Alien"), replace(BABE, title=f"{number}")
        )
        assert (await process.service.profile(BY_ID)).status == "cached"
    assert reads.items == 0
    assert process.model.calls == 1


async def test_a_change_that_the_model_would_not_see_costs_one_look(
    world: World, process: Process, reads: Reads
) -> None:
    first = await process.service.profile(BY_ID)
    await put(world, process, replace(HEAT, title="Heat   (1995)"))
    reads.items = 0
    second = await process.service.profile(BY_ID)
    assert second.status == "cached"
    assert second.stored.created_ms == first.stored.created_ms
    assert second.stored.vector.tolist() == first.stored.vector.tolist()
    assert reads.items == 1
    for request in (BY_ID, ProfileRequest(U)):
        assert (await process.service.profile(request)).status == "cached"
    assert reads.items == 1
    assert process.model.calls == 1


async def test_an_item_that_is_too_old_to_be_read_does_not_matter_and_the_next_one_does(
    world: World, process: Process, reads: Reads
) -> None:
    """500 characters are read: a line of 400 leaves no room for another of 200."""
    films = [Item("newest", "n" * 400), Item("cut", "c" * 200), Item("oldest", "o" * 200)]
    await put(world, process, *films)
    request = ProfileRequest(U, ("oldest", "cut", "newest"))
    await process.service.profile(request)
    reads.items = 0
    await put(world, process, replace(films[2], title="p" * 200))
    assert (await process.service.profile(request)).status == "cached"
    assert reads.items == 0
    # With a shorter title there is room for it.
    await put(world, process, replace(films[1], title="short"))
    assert (await process.service.profile(request)).status == "generated"
    assert "short" in asked(process)


async def test_an_item_that_was_missing_counts_from_when_it_is_there(
    world: World, process: Process
) -> None:
    request = ProfileRequest(U, ("heat", "alien"), lenient=True)
    await process.service.profile(request)
    await put(world, process, THIRD)
    assert (await process.service.profile(request)).status == "generated"
    assert "Alien" in asked(process)


async def test_a_removed_item_counts_no_more(world: World, process: Process) -> None:
    await world.did("heat", "babe")
    await process.service.profile(ProfileRequest(U))
    await process.service.profile(replace(BY_ID, key=key("v")))
    await world.stores.catalogue.delete_item(TENANT, "heat")
    await process.changes.read()
    assert (await process.service.profile(ProfileRequest(U))).status == "generated"
    assert "Heat" not in asked(process)
    with pytest.raises(UnknownItems):
        await process.service.profile(replace(BY_ID, key=key("v")))


async def test_a_neighbour_matters_to_those_who_name_it(
    world: World, process: Process, reads: Reads
) -> None:
    request = ProfileRequest(FILM, ("babe",))
    await process.service.profile(request)
    await put(world, process, replace(BABE, title="Babe 2"))
    reads.items = 0
    assert (await process.service.profile(ProfileRequest(FILM))).status == "cached"
    assert reads.items == 0
    assert (await process.service.profile(request)).status == "generated"


async def test_texts_that_came_with_the_request_do_not_change(
    world: World, process: Process
) -> None:
    inline = [ProfileRequest(U, (HEAT,)), ProfileRequest(FILM, item=HEAT)]
    for request in inline:
        await process.service.profile(request)
    await put(world, process, replace(HEAT, title="Ronin"))
    for request in (*inline, ProfileRequest(U), ProfileRequest(FILM)):
        assert (await process.service.profile(request)).status == "cached"


async def test_a_profile_that_cannot_be_made_again_is_stale(world: World, process: Process) -> None:
    """Nothing is recorded of the user, and the request brings no history."""
    await process.service.profile(BY_ID)
    assert (await process.service.lookup(U)).status == "cached"
    await put(world, process, replace(HEAT, title="Ronin"))
    assert (await process.service.lookup(U)).status == "stale"
    assert (await process.service.profile(ProfileRequest(U))).status == "stale"
    process.model.free.clear()
    late = await process.service.profile(replace(BY_ID, deadline_s=0.05))
    assert late.status == "stale"


class TestOlderThanTheChangesThatAreKept:
    @pytest.fixture(autouse=True)
    async def few(self, world: World, process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(world.stores.catalogue, "_kept", 3)

    @pytest.mark.parametrize("request_", [BY_ID, ProfileRequest(FILM)])
    async def test_it_is_looked_at_once_and_bound_to_the_present(
        self, world: World, process: Process, reads: Reads, request_: ProfileRequest
    ) -> None:
        await process.service.profile(request_)
        await put(world, process, *(Item(str(number), "Alien") for number in range(9)))
        reads.items = 0
        for _ in range(3):
            assert (await process.service.profile(request_)).status == "cached"
        assert reads.items == 1
        stored = codec.look(await world.store.get(request_.key))
        assert stored is not None
        assert stored.stamp == process.changes.stamp
        assert process.model.calls == 1

    async def test_a_change_that_is_not_known_any_more_is_found(
        self, world: World, process: Process
    ) -> None:
        await process.service.profile(BY_ID)
        await put(world, process, replace(HEAT, title="Ronin"))
        await put(world, process, *(Item(str(number), "Alien") for number in range(9)))
        assert (await process.service.profile(BY_ID)).status == "generated"

    async def test_one_that_cannot_be_made_again_is_not_called_stale(
        self, world: World, process: Process
    ) -> None:
        await process.service.profile(BY_ID)
        await put(world, process, *(Item(str(number), "Alien") for number in range(9)))
        assert (await process.service.profile(ProfileRequest(U))).status == "cached"
        assert (await process.service.lookup(U)).status == "cached"

    async def test_a_process_that_missed_changes_reads_everything_anew(
        self, world: World, process: Process
    ) -> None:
        other = world.process()
        await other.changes.read()
        await put(world, process, Item("gone", "Alien", hidden=True))
        await put(world, process, *(Item(str(number), "Alien") for number in range(9)))
        await other.changes.read()
        assert other.changes.withdrawn("gone")
        assert other.changes.stamp == process.changes.stamp
        await put(world, process, Item("gone", "Alien"))
        await put(world, process, *(Item(str(number), "Dune") for number in range(9)))
        await other.changes.read()
        assert not other.changes.withdrawn("gone")


async def test_a_follower_is_not_given_what_it_knows_to_be_outdated(
    world: World, process: Process
) -> None:
    """Another process, which has not heard of the change, stores the profile of before."""
    late = world.process()
    await late.changes.read()
    late.model.free.clear()
    leading = late.ask(BY_ID)
    await late.model.asked.get()
    await put(world, process, replace(HEAT, title="Ronin"))
    following = process.ask(BY_ID)
    await world.store.acquired.wait()
    late.model.free.set()
    await leading
    assert (await following).status == "generated"
    assert "Ronin" in asked(process)


async def test_whoever_finds_it_changed_makes_it_once(world: World, process: Process) -> None:
    await process.service.profile(BY_ID)
    await put(world, process, replace(HEAT, title="Ronin"))
    answers: list[ProfileAnswer] = await asyncio.gather(
        *(process.service.profile(BY_ID) for _ in range(5))
    )
    assert {answer.stored.input_hash for answer in answers} == {answers[0].stored.input_hash}
    assert process.model.calls == 2


async def test_a_store_that_does_not_answer_leaves_what_was_known(
    world: World, process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(world, process, Item("gone", "Alien", hidden=True))

    async def down(*_: Any, **__: Any) -> None:
        raise StoreUnavailable("it does not answer")

    monkeypatch.setattr(world.stores.catalogue, "changes", down)
    await process.changes.read()
    assert process.changes.withdrawn("gone")


async def test_a_store_that_began_anew_is_read_anew(world: World, process: Process) -> None:
    await put(world, process, Item("gone", "Alien", hidden=True))
    world.stores.catalogue._changes.clear()
    await process.changes.read()
    assert process.changes.stamp == 0
    assert not process.changes.withdrawn("gone")


NOW_MS = 1_796_000_000_000


@pytest.mark.parametrize("inline", [False, True])
async def test_a_withdrawn_item_has_no_profile(
    world: World, process: Process, inline: bool
) -> None:
    request = ProfileRequest(FILM, item=HEAT if inline else None)
    await process.service.profile(request)
    await put(world, process, replace(HEAT, hidden=True))
    for asked_for in (request, ProfileRequest(FILM, refresh=True)):
        with pytest.raises(ItemWithdrawn, match="withdrawn"):
            await process.service.profile(asked_for)
    with pytest.raises(ItemWithdrawn):
        await process.service.lookup(FILM)
    user = key("heat")
    await process.service.profile(ProfileRequest(user, ("heat",)))
    found = await process.service.embeddings([FILM, user])
    assert [one is None for one in found] == [True, False]

    await put(world, process, HEAT)
    assert (await process.service.profile(request)).status == "cached"
    await world.stores.catalogue.delete_item(TENANT, "heat")
    await process.changes.read()
    with pytest.raises(ItemWithdrawn):
        await process.service.profile(request)


async def test_an_item_is_withdrawn_from_the_moment_it_expires(
    world: World, process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = datetime.fromtimestamp(NOW_MS / 1000, UTC)
    await put(world, process, replace(HEAT, expires_at=at))
    monkeypatch.setattr("time.time_ns", lambda: (NOW_MS - 1) * 1_000_000)
    await process.service.profile(ProfileRequest(FILM))
    # Nothing is read in between: the time alone has passed.
    monkeypatch.setattr("time.time_ns", lambda: NOW_MS * 1_000_000)
    with pytest.raises(ItemWithdrawn):
        await process.service.profile(ProfileRequest(FILM))


async def test_changes_are_followed(world: World, process: Process) -> None:
    heard = asyncio.Event()

    class Follower:
        def follow(self, item_id: str, withdrawn_ms: int | None) -> None:
            assert (item_id, withdrawn_ms) == ("gone", 0)
            heard.set()

    follower = Follower()
    process.changes.add_follower(follower)
    async with process.changes.following():
        await world.stores.catalogue.put_items(TENANT, [Item("gone", "Alien", hidden=True)])
        async with asyncio.timeout(30):
            await heard.wait()
    assert process.changes.withdrawn("gone")
