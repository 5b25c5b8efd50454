"""What failed is tried again, by another worker too, and given up in the end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from services.profiles.domain.requests import ProfileRequest
from services.profiles.errors import StoreUnavailable
from services.profiles.stores.redis import keys
from tests.services.profiles.refresh.worker import LEASE_S, Worker, eventually, single_flight

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from services.profiles.stores.base import Lease

pytestmark = pytest.mark.anyio


async def test_another_worker_takes_over_from_one_that_dies(make: Callable[..., Worker]) -> None:
    dying, living = make(), make()
    dying.generator.let.clear()
    dying.refresher.start()
    await dying.did("u", "heat")
    await eventually(lambda: dying.generator.asked)
    # As SIGKILL would: everything stops at once, and nothing is told to Redis.
    tasks = [dying.refresher._loop, *dying.refresher._under_way, *single_flight(dying)]
    dying.store.give_up = _nothing  # type: ignore[method-assign,assignment]  # the dead call nobody
    dying.store.renew = _all_lost  # type: ignore[method-assign]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    dying.refresher._loop = None

    living.refresher.start()
    await eventually(lambda: living.counted("refreshed"))
    assert len(living.generator.asked) == 1
    assert (await living.profiles.lookup(living.key("u"))).status == "cached"
    assert await living.idle()


async def test_a_failed_refresh_is_tried_again(make: Callable[..., Worker]) -> None:
    worker = make()
    worker.generator.failures = 1
    worker.refresher.start()
    await worker.did("u", "heat")
    await eventually(lambda: worker.counted("refreshed"))
    assert worker.counted("failed") == 1
    assert await worker.letters() == []
    # A success ends the count: the next failure is a first one.
    assert not await worker.client.call("EXISTS", keys.refresh_tries(worker.tenant))


async def test_an_older_profile_does_not_hide_a_failure(make: Callable[..., Worker]) -> None:
    worker = make()
    await worker.did("u", "heat")
    await worker.profiles.profile(ProfileRequest(worker.key("u")))
    worker.generator.failures = 1
    worker.refresher.start()
    await worker.did("u", "babe", at=2_000)
    await eventually(lambda: worker.counted("refreshed"))
    assert worker.counted("failed") == 1


async def test_a_profile_that_was_not_stored_is_made_again(make: Callable[..., Worker]) -> None:
    worker = make()
    worker.store.losses = 1
    worker.refresher.start()
    await worker.did("u", "heat")
    await eventually(lambda: worker.counted("refreshed"))
    assert worker.counted("failed") == 1
    assert len(worker.generator.asked) == 2


async def test_after_the_last_try_there_is_a_dead_letter_that_says_why(
    make: Callable[..., Worker],
) -> None:
    worker = make(attempts=2)
    worker.generator.failures = 100
    worker.refresher.start()
    await worker.did("u", "heat")
    (letter,) = await eventually(worker.letters)
    assert letter == {
        b"user": b"u",
        b"reason": b"model-unavailable: the model is not there",
        b"tries": b"2",
    }
    assert await worker.idle()
    assert (worker.counted("failed"), worker.counted("dead")) == (2, 1)

    worker.generator.failures = 0
    await worker.did("u", "heat")
    await eventually(lambda: worker.counted("refreshed"))


async def test_what_ends_every_worker_is_given_up_too(make: Callable[..., Worker]) -> None:
    worker = make(attempts=2)
    await worker.did("u", "heat")
    await asyncio.sleep(0.15)
    for name in ("one", "two"):
        assert (await worker.refreshes.take(worker.tenant, name, most=1, holding=())).refreshes
        await asyncio.sleep(LEASE_S + 0.05)
    worker.refresher.start()
    (letter,) = await eventually(worker.letters)
    assert b"ended" in letter[b"reason"]
    assert worker.generator.asked == []


async def test_a_redis_that_comes_back_is_looked_at_again(
    make: Callable[..., Worker], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    worker = make()

    async def unavailable(*_: Any, **__: Any) -> Any:
        raise StoreUnavailable("no answer")

    with monkeypatch.context() as patched:
        patched.setattr(worker.refreshes, "take", unavailable)
        worker.refresher.start()
        await asyncio.sleep(0.3)
    assert [record.message for record in caplog.records].count("refreshes have to wait") == 1
    await worker.did("u", "heat")
    await eventually(lambda: worker.counted("refreshed"))


async def _nothing(*args: Any) -> None:
    """Stands for what a killed worker does not get to do."""


async def _all_lost(leases: Sequence[Lease]) -> list[bool]:
    return [False] * len(leases)
