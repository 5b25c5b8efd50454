"""Profiles follow what users do: once for a burst, behind everybody else, until a worker drains."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from services.profiles.errors import UnknownItems
from tests.services.profiles.refresh.worker import LEASE_S, Worker, eventually
from tests.services.profiles.test_background import PROFILE

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.anyio


async def test_a_burst_makes_one_profile_of_all_of_it(make: Callable[..., Worker]) -> None:
    worker = make()
    worker.refresher.start()
    for number in range(4):
        await worker.did("u", "heat" if number else "babe", at=number)
    await eventually(worker.idle)
    (asked,) = worker.generator.asked
    assert asked.background
    prompt = asked.messages[-1].content
    assert (prompt.count("Babe"), prompt.count("Heat")) == (1, 3)
    assert worker.counted("refreshed") == 1
    assert PROFILE in (await worker.profiles.lookup(worker.key("u"))).stored.fragment.decode()


async def test_events_that_were_there_make_no_new_profile(make: Callable[..., Worker]) -> None:
    worker = make()
    worker.refresher.start()
    for expected in ("refreshed", "unchanged"):
        await worker.did("u", "heat")
        await eventually(lambda expected=expected: worker.counted(expected))
    assert len(worker.generator.asked) == 1


async def test_events_during_a_refresh_make_another(make: Callable[..., Worker]) -> None:
    worker = make()
    worker.generator.let.clear()
    worker.refresher.start()
    await worker.did("u", "heat")
    await eventually(lambda: worker.generator.asked)
    await worker.did("u", "babe", at=2_000)
    worker.generator.let.set()
    await eventually(lambda: worker.counted("refreshed") == 2)
    assert "Babe" in worker.generator.asked[-1].messages[-1].content


async def test_unknown_items_are_named_and_nothing_is_kept(make: Callable[..., Worker]) -> None:
    worker = make()
    with pytest.raises(UnknownItems) as caught:
        await worker.did("u", "heat", "alien", "aliens")
    assert caught.value.data["unknown"] == ["alien", "aliens"]
    assert await worker.recorder.events("u") == []
    assert await worker.idle()


async def test_draining_waits_for_what_is_under_way_and_takes_no_more(
    make: Callable[..., Worker],
) -> None:
    worker = make()
    worker.generator.let.clear()
    worker.refresher.start()
    await worker.did("u", "heat")
    await eventually(lambda: worker.generator.asked)
    draining = asyncio.create_task(worker.refresher.drain(10))
    await worker.did("v", "heat")
    await asyncio.sleep(2 * LEASE_S)
    assert not draining.done()
    # Renewed while it drains: nobody else may take it.
    assert not (await worker.refreshes.take(worker.tenant, "x", most=0, holding=())).refreshes
    worker.generator.let.set()
    await draining
    assert worker.counted("refreshed") == 1
    (left,) = (await worker.refreshes.take(worker.tenant, "x", most=9, holding=())).refreshes
    assert left.user_id == "v"


async def test_a_drain_that_takes_too_long_leaves_the_rest_to_others(
    make: Callable[..., Worker],
) -> None:
    worker = make()
    worker.generator.let.clear()
    worker.refresher.start()
    await worker.did("u", "heat")
    await eventually(lambda: worker.generator.asked)
    await worker.refresher.drain(0.1)
    await asyncio.sleep(LEASE_S + 0.05)
    (left,) = (await worker.refreshes.take(worker.tenant, "x", most=9, holding=())).refreshes
    assert (left.user_id, left.tries) == ("u", 2)
