"""Faults do to a real Redis, and to real processes, what they say, and leave it able to work."""

from __future__ import annotations

import asyncio
import random
import sys
import threading
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import psutil
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.chaos import faults
from tests.chaos.clock import STEP_S, Clock
from tests.chaos.faults import FAULTS, NEEDS, Lab
from tests.chaos.stack import _redis
from tests.support.processes import ServerProcess
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.chaos.stack import Fsync
    from tests.support.servers import RedisServer

pytestmark = pytest.mark.stack

LASTS_S = 1.5


class Redis:
    """A Redis for faults, and what was seen of it while a fault lasted."""

    def __init__(self, folder: Path, *, fsync: Fsync) -> None:
        self.clock = Clock(folder / "clock")
        self.server: RedisServer = _redis(folder, fsync=fsync, clock=self.clock)
        self.server.start()
        self.crashes = 0
        stack: Any = SimpleNamespace(redis=self.server, folder=folder, redis_clock=self.clock)
        self.lab = Lab(stack, crashed=self._crashed)

    def _crashed(self) -> None:
        self.crashes += 1

    def during(self, fault: faults.Run, look: Callable[[redis.Redis], object]) -> list[object]:
        """Causes a fault, and returns what looking at Redis gave meanwhile; None for errors."""
        seen: list[object] = []
        over = threading.Event()

        def watch() -> None:
            at_once = Retry(NoBackoff(), 0)
            with redis.Redis(port=self.server.port, socket_timeout=0.3, retry=at_once) as client:
                while not over.is_set():
                    try:
                        seen.append(look(client))
                    except redis.RedisError:
                        seen.append(None)
                    time.sleep(0.02)

        watching = threading.Thread(target=watch)
        watching.start()
        try:
            asyncio.run(_run(fault, self.lab))
        finally:
            over.set()
            watching.join()
        return seen


async def _run(fault: faults.Run, lab: Lab) -> None:
    await fault(lab, LASTS_S, random.Random(1))


@pytest.fixture(params=["always", "everysec"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Redis]:
    store = Redis(tmp_path, fsync=request.param)
    yield store
    store.server.process.kill()


def write(client: redis.Redis) -> object:
    return client.set("large", b"x" * 100_000)


def assert_works(store: Redis) -> None:
    with store.server.client() as client:
        assert client.set("again", "1")


@pytest.mark.parametrize("name", ["disk-full", "memory-full"])
def test_writes_fail_meanwhile(store: Redis, name: str) -> None:
    if (why := NEEDS.get(name, lambda: None)()) is not None:
        pytest.skip(why)
    with store.server.client() as client:
        client.set("kept", "1")
    seen = store.during(FAULTS[name].run, write)
    assert None in seen
    assert_works(store)
    with store.server.client() as client:
        assert client.get("kept") == b"1"


def test_a_killed_redis_has_what_it_acknowledged(store: Redis) -> None:
    with store.server.client() as client:
        client.set("kept", "1")
        time.sleep(1.1)  # what `everysec` may keep in memory
    before = store.server.process.pid
    assert None in store.during(faults.kill_redis, lambda client: client.ping())
    assert store.crashes == 1
    assert store.server.process.pid != before
    with store.server.client() as client:
        assert client.get("kept") == b"1"


def test_a_stalled_redis_does_not_answer(store: Redis) -> None:
    assert None in store.during(faults.stall_redis, lambda client: client.ping())
    assert_works(store)


def test_the_clock_of_redis_is_stepped_and_right_again(store: Redis) -> None:
    if (why := NEEDS["redis-clock"]()) is not None:
        pytest.skip(why)
    seen = store.during(
        faults.step_redis_clock, lambda client: abs(client.time()[0] - time.time()) > STEP_S / 2
    )
    assert True in seen
    with store.server.client() as client:
        assert abs(client.time()[0] - time.time()) < 5


def test_a_stalled_process_with_children(tmp_path: Path) -> None:
    code = "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; "
    code += "time.sleep(60)']); print('up', flush=True); time.sleep(60)"
    process = ServerProcess([sys.executable, "-c", code], log=tmp_path / "log", env={})
    process.start(lambda: "up" in (tmp_path / "log").read_text(), timeout_s=20)
    try:
        stack: Any = SimpleNamespace(model=process)
        stalled = threading.Thread(
            target=lambda: asyncio.run(_run(faults.stall_model, Lab(stack, lambda: None)))
        )
        stalled.start()
        both = [psutil.Process(process.pid), *process.children()]
        assert len(both) == 2
        eventually(lambda: all(one.status() == psutil.STATUS_STOPPED for one in both))
        stalled.join()
        assert all(one.status() != psutil.STATUS_STOPPED for one in both)
    finally:
        process.kill()
