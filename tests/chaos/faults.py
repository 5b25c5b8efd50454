"""What can go wrong, one function each. A fault is over when its function returns.

A function begins the fault, lets it last, and ends it; it returns when every server that it stopped
answers again. To add one, write the function and enter it in FAULTS (docs/contributing/changes.md).
"""

from __future__ import annotations

import asyncio
import os
import random
import resource
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.chaos.clock import NOTICED_S, STEP_S, libfaketime
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.chaos.clock import Clock
    from tests.chaos.plan import Planned
    from tests.chaos.stack import RedisName, Stack
    from tests.support.processes import ServerProcess
    from tests.support.proxy import Mood, Proxy
    from tests.support.redis_sets import SentinelSet
    from tests.support.servers import RedisServer

Run = Callable[["Lab", float, random.Random], Awaitable[None]]

DELAY_S = 0.05
"""What a slow network adds to each piece; Redis is asked several times for one profile."""

_SHARE = 0.3
_ROOM_BYTES = 4096
"""What is left on a full disk."""


@dataclass(frozen=True, slots=True)
class Lab:
    """What a fault works on.

    Attributes:
        crashed: To be called when the store was killed.
    """

    stack: Stack
    crashed: Callable[[], None]


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault.

    Attributes:
        lasts_s: How long it lasts at least and at most.
        redis: The kind of Redis that it is for; None for both.
    """

    run: Run
    lasts_s: tuple[float, float]
    redis: RedisName | None = None


async def cause(lab: Lab, planned: Planned) -> None:
    """Causes a planned fault, and returns when it is over."""
    await FAULTS[planned.fault].run(lab, planned.lasts_s, random.Random(planned.seed))


async def kill_worker(lab: Lab, lasts_s: float, drawn: random.Random) -> None:
    """Kills one of two workers; the supervisor starts another."""
    before = lab.stack.starts()
    os.kill(drawn.choice(lab.stack.workers()), signal.SIGKILL)
    await asyncio.to_thread(lab.stack.await_start, before)


async def kill_redis(lab: Lab, lasts_s: float, drawn: random.Random) -> None:
    """Kills Redis, and starts it again from its append-only file."""
    lab.stack.redis.process.kill()
    lab.crashed()
    await asyncio.sleep(lasts_s)
    await asyncio.to_thread(lab.stack.redis.start)


async def kill_master(lab: Lab, lasts_s: float, drawn: random.Random) -> None:
    """Kills the master, and starts it again as what the Sentinels then make of it: a replica."""
    sentinels = lab.stack.sentinels
    assert sentinels is not None
    old, new = await asyncio.to_thread(sentinels.fail_over, kill=True)
    await asyncio.sleep(lasts_s)
    await asyncio.to_thread(old.start)
    await asyncio.to_thread(_followed, sentinels, new)


async def demote_master(lab: Lab, lasts_s: float, drawn: random.Random) -> None:
    """Has the Sentinels make another server the master while the old one still runs."""
    sentinels = lab.stack.sentinels
    assert sentinels is not None
    _, new = await asyncio.to_thread(sentinels.fail_over, kill=False)
    await asyncio.sleep(lasts_s)
    await asyncio.to_thread(_followed, sentinels, new)


async def kill_model(lab: Lab, lasts_s: float, drawn: random.Random) -> None:
    """Kills the model server, and starts it again."""
    lab.stack.model.kill()
    await asyncio.sleep(lasts_s)
    await asyncio.to_thread(lab.stack.start_model)


async def stall_worker(lab: Lab, lasts_s: float, drawn: random.Random) -> None:
    """Stops one of two workers for a while: longer than its leases live."""
    await _stalled([drawn.choice(lab.stack.workers())], lasts_s)


async def stall_redis(lab: Lab, lasts_s: float, drawn: random.Random) -> None:
    """Stops Redis for a while: longer than the service waits for it."""
    await _stalled([lab.stack.redis.process.pid], lasts_s)


async def stall_model(lab: Lab, lasts_s: float, drawn: random.Random) -> None:
    """Stops the model server, with its children, for a while."""
    process = lab.stack.model
    await _stalled([process.pid, *(child.pid for child in process.children())], lasts_s)


async def fill_disk(lab: Lab, lasts_s: float, drawn: random.Random) -> None:
    """Lets Redis write no further than a little beyond the end of its append-only file.

    The limit is one on the size of files: the kernel answers a write beyond it as it answers one to
    a full disk, with a short count and then an error. It needs neither root nor a disk of its own.
    A Redis that syncs always ends itself then; one that syncs each second refuses writes.
    """
    stack = lab.stack
    process = stack.redis.process
    largest = max(file.stat().st_size for file in (stack.folder / "redis").rglob("*.aof"))
    _limit_files(process, largest + _ROOM_BYTES)
    await asyncio.sleep(lasts_s)
    if process.ended():
        process.kill()
        await asyncio.to_thread(stack.redis.start)
    else:
        _limit_files(process, None)


async def fill_memory(lab: Lab, lasts_s: float, drawn: random.Random) -> None:
    """Lets Redis take no more memory than it has, so that it refuses what may need more."""
    client = lab.stack.redis.client()
    await asyncio.to_thread(client.config_set, "maxmemory", "1mb")
    await asyncio.sleep(lasts_s)
    await asyncio.to_thread(client.config_set, "maxmemory", "0")
    client.close()


async def step_service_clock(lab: Lab, lasts_s: float, drawn: random.Random) -> None:
    """Steps the clock of the workers by an hour, forwards or back, and later to the true time."""
    await _stepped(lab.stack.service_clock, lasts_s, drawn)


async def step_redis_clock(lab: Lab, lasts_s: float, drawn: random.Random) -> None:
    """Steps the clock of Redis by an hour, forwards or back, and later to the true time."""
    await _stepped(lab.stack.redis_clock, lasts_s, drawn)


async def upgrade(lab: Lab, lasts_s: float, drawn: random.Random) -> None:
    """Starts a service of another version, lets both answer for a while, and drains the old one."""
    stack = lab.stack
    (old,) = stack.services
    version = next(one for one in stack.versions if one != stack.served[-1].fault)
    new = await asyncio.to_thread(stack.add_service, version)
    stack.to_service.redirect(old.port, new.port)
    await asyncio.sleep(lasts_s)
    stack.to_service.redirect(new.port)
    await asyncio.to_thread(stack.retire_service, old)


def network(way: Callable[[Stack], Proxy], mood: Mood) -> Run:
    """Returns a fault of the network between two parts.

    Args:
        way: The proxy between them.
        mood: What it does to the traffic; `pass` is slow.
    """

    async def disturb(lab: Lab, lasts_s: float, drawn: random.Random) -> None:
        proxy = way(lab.stack)
        if mood == "pass":
            proxy.set("pass", delay_s=DELAY_S)
        elif mood in {"cut", "garble"}:
            proxy.set(mood, share=_SHARE)
        else:
            await asyncio.to_thread(proxy.set, mood)
        await asyncio.sleep(lasts_s)
        proxy.set("pass")

    return disturb


def _no_libfaketime() -> str | None:
    return None if libfaketime() else "the package libfaketime is not installed"


def _no_limits() -> str | None:
    return (
        None if hasattr(resource, "prlimit") else "only Linux limits the files of other processes"
    )


_SHORT, _LONG, _AT_ONCE = (2.0, 4.0), (5.0, 8.0), (0.0, 0.0)

FAULTS: Mapping[str, Fault] = {
    "worker-killed": Fault(kill_worker, _AT_ONCE),
    "redis-killed": Fault(kill_redis, (0.5, 3.0), "one"),
    "master-killed": Fault(kill_master, _AT_ONCE, "sentinel"),
    "master-demoted": Fault(demote_master, _AT_ONCE, "sentinel"),
    "model-killed": Fault(kill_model, _SHORT),
    "worker-stalled": Fault(stall_worker, _LONG),
    "redis-stalled": Fault(stall_redis, _SHORT, "one"),
    "model-stalled": Fault(stall_model, _LONG),
    "disk-full": Fault(fill_disk, _SHORT, "one"),
    "memory-full": Fault(fill_memory, _SHORT, "one"),
    "service-clock": Fault(step_service_clock, _SHORT),
    "redis-clock": Fault(step_redis_clock, _SHORT, "one"),
    "upgrade": Fault(upgrade, _SHORT),
    "redis-slow": Fault(network(lambda stack: stack.to_redis, "pass"), _SHORT, "one"),
    "redis-cut": Fault(network(lambda stack: stack.to_redis, "cut"), _SHORT, "one"),
    "redis-refused": Fault(network(lambda stack: stack.to_redis, "refuse"), _SHORT, "one"),
    "model-slow": Fault(network(lambda stack: stack.to_model, "pass"), _SHORT),
    "model-cut": Fault(network(lambda stack: stack.to_model, "cut"), _SHORT),
    "model-garbled": Fault(network(lambda stack: stack.to_model, "garble"), _SHORT),
    "client-slow": Fault(network(lambda stack: stack.to_service, "pass"), _SHORT),
    "client-cut": Fault(network(lambda stack: stack.to_service, "cut"), _SHORT),
    "client-garbled": Fault(network(lambda stack: stack.to_service, "garble"), _SHORT),
}

NEEDS: Mapping[str, Callable[[], str | None]] = {
    "service-clock": _no_libfaketime,
    "redis-clock": _no_libfaketime,
    "disk-full": _no_limits,
}
"""For a fault that not every machine can cause: why this one cannot, None if it can."""


async def _stalled(pids: list[int], lasts_s: float) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        await asyncio.sleep(lasts_s)
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


async def _stepped(clock: Clock, lasts_s: float, drawn: random.Random) -> None:
    clock.step(drawn.choice((STEP_S, -STEP_S)))
    try:
        await asyncio.sleep(NOTICED_S + lasts_s)
    finally:
        clock.step(0)
    await asyncio.sleep(NOTICED_S)


def _followed(sentinels: SentinelSet, master: RedisServer) -> None:
    """Waits until all other servers are replicas of a master."""
    others = len(sentinels.servers) - 1
    eventually(lambda: sentinels.connected(master) == others, timeout_s=60)


def _limit_files(process: ServerProcess, size: int | None) -> None:
    """Sets the largest size of files that a process may write; None for none."""
    _, hard = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
    soft = hard if size is None else size
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (soft, hard))
