"""Profiles follow what users do: once for a burst, behind everybody else, whatever dies meanwhile."""

from __future__ import annotations

import asyncio
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from services.profiles.budget import utf8_length
from services.profiles.errors import ModelUnavailable, NothingToRead, StoreUnavailable, UnknownItems
from services.profiles.models import Item, ProfileKey
from services.profiles.reading import Reader
from services.profiles.recording import Recorder
from services.profiles.refreshing import Refresher
from services.profiles.requests import ProfileRequest
from services.profiles.service import ProfileService
from services.profiles.stores import keys
from services.profiles.stores.base import Event
from services.profiles.stores.redis_catalogue import RedisCatalogue
from services.profiles.stores.redis_client import RedisClient
from services.profiles.stores.redis_interactions import RedisInteractions
from services.profiles.stores.redis_profiles import RedisProfiles
from services.profiles.stores.redis_refreshes import RedisRefreshes
from services.profiles.telemetry import Metrics
from services.profiles.writing import Writer
from tests.services.profiles.test_background import PROFILE, VERSION, HeldGenerator, OneVector

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from services.profiles.generators.base import Generation, GenerationRequest
    from services.profiles.models import ProfileVersion
    from services.profiles.service import Answer
    from services.profiles.stores.base import Lease
    from tests.support.servers import RedisServer

pytestmark = pytest.mark.anyio

LEASE_S = 0.4
FILMS = [Item("heat", "Heat (1995)", "Crime"), Item("babe", "Babe (1995)", "Comedy")]


class Generator(HeldGenerator):
    """Fails as often as it is told, and then knows one profile."""

    def __init__(self) -> None:
        super().__init__()
        self.failures = 0
        self.let.set()

    async def generate(self, request: GenerationRequest) -> Generation:
        generation = await super().generate(request)
        if self.failures:
            self.failures -= 1
            raise ModelUnavailable("the model is not there")
        return generation


class LosingProfiles(RedisProfiles):
    """Cannot store as often as it is told."""

    losses = 0

    async def commit(
        self, lease: Lease, value: bytes, *, ttl_s: int, version: ProfileVersion
    ) -> bool:
        if self.losses:
            self.losses -= 1
            raise StoreUnavailable("no answer")
        return await super().commit(lease, value, ttl_s=ttl_s, version=version)


@dataclass
class Worker:
    """The parts of one worker of the service, all in one tenant of the real Redis."""

    tenant: str
    client: RedisClient
    generator: Generator
    store: LosingProfiles
    interactions: RedisInteractions
    refreshes: RedisRefreshes
    profiles: ProfileService
    recorder: Recorder
    refresher: Refresher
    metrics: Metrics

    def key(self, user: str) -> ProfileKey:
        return ProfileKey(self.tenant, "user", user)

    async def did(self, user: str, *items: str, at: int = 1_000) -> None:
        await self.recorder.record([Event(user, item, at + n) for n, item in enumerate(items)])

    def counted(self, outcome: str) -> int:
        return int(
            self.metrics.registry.get_sample_value("reclm_refreshes_total", {"outcome": outcome})
            or 0
        )

    async def idle(self) -> bool:
        return (await self.refreshes.take(self.tenant, "observer", most=0, holding=())).waiting == 0

    async def letters(self) -> list[Any]:
        found = await self.client.call("XRANGE", keys.refresh_dead(self.tenant), "-", "+")
        return [letter for _, letter in found]


@pytest.fixture
async def make(redis_server: RedisServer) -> AsyncIterator[Callable[[], Worker]]:
    """Makes workers that share a tenant and nothing else."""
    tenant = secrets.token_hex(6)
    made: list[Worker] = []

    def make(*, attempts: int = 3) -> Worker:
        client = RedisClient(url=redis_server.url, timeout_s=5, connections=8)
        metrics = Metrics()
        generator = Generator()
        store = LosingProfiles(client, lease_s=LEASE_S)
        catalogue = RedisCatalogue(client)
        interactions = RedisInteractions(client, cap=10, ttl_s=60)
        refreshes = RedisRefreshes(client, quiet_s=0.1, max_wait_s=0.3, lease_s=LEASE_S)
        profiles = ProfileService(
            store=store,
            interactions=interactions,
            history_limit=10,
            reader=Reader(
                catalogue=catalogue, tenant=tenant, count=utf8_length, history_tokens=500
            ),
            writer=Writer(
                generator=generator,
                encoder=OneVector(),
                version=VERSION,
                count=utf8_length,
                examples=False,
                temperature=0.0,
                presence_penalty=0.0,
                frequency_penalty=0.0,
                metrics=metrics,
            ),
            version=VERSION,
            ttl_s=60,
            lease_s=LEASE_S,
            generation_timeout_s=60,
            max_concurrent=4,
            max_waiting=16,
            metrics=metrics,
        )
        worker = Worker(
            tenant=tenant,
            client=client,
            generator=generator,
            store=store,
            interactions=interactions,
            refreshes=refreshes,
            profiles=profiles,
            recorder=Recorder(
                catalogue=catalogue,
                interactions=interactions,
                refreshes=refreshes,
                tenant=tenant,
                cap=10,
                metrics=metrics,
            ),
            refresher=Refresher(
                profiles=profiles,
                interactions=interactions,
                refreshes=refreshes,
                metrics=metrics,
                tenant=tenant,
                worker=secrets.token_hex(4),
                history_limit=10,
                concurrency=4,
                attempts=attempts,
                poll_s=0.05,
                first_pause_s=0.7,
            ),
            metrics=metrics,
        )
        made.append(worker)
        return worker

    worker = make()
    await RedisCatalogue(worker.client).put_items(tenant, FILMS)
    made.clear()
    yield make
    for one in [*made, worker]:
        one.generator.let.set()
        await one.refresher.drain(5)
        await one.profiles.drain(5)
        await one.client.aclose()


async def eventually(probe: Callable[[], Any]) -> Any:
    """Returns the first truthy answer; the limit only ends a test that hangs.

    It looks at the clock itself: redis-py may lose the cancellation by which a timeout ends.
    """
    until = time.monotonic() + 10
    while time.monotonic() < until:
        answer = probe()
        if asyncio.iscoroutine(answer):
            answer = await answer
        if answer:
            return answer
        await asyncio.sleep(0.02)
    raise AssertionError("not within 10 s")


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


async def test_another_worker_takes_over_from_one_that_dies(make: Callable[..., Worker]) -> None:
    dying, living = make(), make()
    dying.generator.let.clear()
    dying.refresher.start()
    await dying.did("u", "heat")
    await eventually(lambda: dying.generator.asked)
    # As SIGKILL would: everything stops at once, and nothing is told to Redis.
    tasks = [dying.refresher._loop, *dying.refresher._under_way, *_flights(dying)]
    dying.store.give_up = dying.store.renew = _nothing  # type: ignore[method-assign,assignment]
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
        assert await worker.store.get(worker.key(user)) is None
        assert await worker.recorder.events(user) == []


async def test_a_history_read_before_an_erasure_brings_nobody_back(
    make: Callable[..., Worker],
) -> None:
    worker = make()
    profile = worker.profiles.profile

    async def erased_first(request: ProfileRequest) -> Any:
        await worker.profiles.erase(request.key)
        return await profile(request)

    worker.profiles.profile = erased_first  # type: ignore[method-assign]
    worker.refresher.start()
    await worker.did("u", "heat")
    await eventually(lambda: worker.counted("erased"))
    assert await worker.store.get(worker.key("u")) is None


async def waiting_behind_others(worker: Worker, user: str) -> list[asyncio.Task[Answer]]:
    """Asks in the background: for users who take all the turns, and for one who has to wait."""
    worker.generator.let.clear()
    asked = []
    for id_ in ("a", "b", "c", user):
        await worker.did(id_, "heat")
        request = ProfileRequest(worker.key(id_), background=True)
        asked.append(asyncio.create_task(worker.profiles.profile(request)))
        await eventually(lambda: len(_flights(worker)) == len(asked))
    await eventually(lambda: len(worker.generator.asked) == 3)
    return asked


async def test_who_is_erased_while_a_request_waits_for_its_turn_stays_erased(
    make: Callable[..., Worker],
) -> None:
    worker = make()
    *others, waiting = await waiting_behind_others(worker, "u")
    await worker.profiles.erase(worker.key("u"))
    worker.generator.let.set()
    with pytest.raises(NothingToRead, match="erased"):
        await waiting
    await asyncio.gather(*others)
    assert await worker.store.get(worker.key("u")) is None
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


def _flights(worker: Worker) -> list[asyncio.Task[Any]]:
    return list(worker.profiles._flights._tasks.values())


async def _nothing(*args: Any) -> None:
    """Stands for what a killed worker does not get to do."""
