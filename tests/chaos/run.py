"""One run of the lab: load all the time, and one fault after another."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx

from services.assets.fetch import get_model
from tests.chaos import bundles, model_calls, report
from tests.chaos.checker import Checker
from tests.chaos.faults import FAULTS, NEEDS, Lab, cause
from tests.chaos.final import settle
from tests.chaos.history import History, Violation, Window, write_story
from tests.chaos.load import POPULATION, SCRIPTED, VLLM, Load
from tests.chaos.plan import plan
from tests.chaos.recovery import Recovery, is_good
from tests.chaos.report import FaultSeen, Result
from tests.chaos.sender import Sender
from tests.chaos.stack import Stack

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.chaos.history import Call
    from tests.chaos.plan import Planned
    from tests.chaos.stack import Fsync, ModelName, RedisName

_GIVEN_UP_S = 40.0
_ALONE_AFTER_S = 10.0
_PROBE_S = 0.5
_WARM_S = 120.0
_TIMEOUT_S = 25.0
"""Longer than the service may take for a profile."""

_CONNECTIONS = httpx.Limits(max_connections=None, max_keepalive_connections=32)
KNOWN = 10
"""Readers, and as many clickers, whom the bundles know from training."""


@dataclass(frozen=True, slots=True)
class Options:
    """What to run.

    Attributes:
        faults: Names; all that this machine can cause to this kind of Redis if empty.
        stories: Where stories of violations go.
        recovery_s: The longest time to recover that is no violation.
    """

    seconds: float
    seed: int
    model: ModelName
    redis: RedisName
    fsync: Fsync
    faults: tuple[str, ...]
    command: str
    stories: Path
    recovery_s: float = 10.0


class Run:
    """Connects the load, the faults and the checks.

    Args:
        folder: For what the servers write.
    """

    def __init__(self, options: Options, folder: Path) -> None:
        self._options = options
        self._history = History()
        self._began = time.monotonic()
        users = [f"reader-{n}" for n in range(KNOWN)]
        users += [f"clicker-{POPULATION['reader'] + n}" for n in range(KNOWN)]
        self._stack = Stack(
            folder,
            model=options.model,
            redis=options.redis,
            fsync=options.fsync,
            bundles=folder / "bundles",
            seed=options.seed,
        )
        encoder = get_model("all-MiniLM-L6-v2-int8")
        self._checker = Checker(
            versions=frozenset(self._stack.versions),
            bundles=bundles.write(folder / "bundles", encoder=encoder, known=users),
            traced=options.model == "scripted",
            synced=options.fsync == "always" or options.redis == "sentinel",
            services=self._stack.served,
        )
        self._recovery = self._watch(self._began)
        self._recovered = asyncio.Event()
        self._last_bad = ""
        self.result = Result(command=options.command, seed=options.seed)

    async def go(self) -> Result:
        """Runs for as long as the options say, and returns what was seen.

        Raises:
            RuntimeError: The lab itself failed, or the service was not well before any fault.
        """
        print("starting Redis, the model and the service ...", flush=True)
        try:
            await asyncio.to_thread(self._stack.start)
            async with httpx.AsyncClient(
                base_url=self._stack.url, timeout=_TIMEOUT_S, limits=_CONNECTIONS
            ) as client:
                await self._load(client)
            self._conclude()
        finally:
            await asyncio.to_thread(self._stack.stop)
        return self.result

    async def _load(self, client: httpx.AsyncClient) -> None:
        """Sends requests while faults are caused, and looks at everybody at the end."""
        sender = Sender(
            client,
            history=self._history,
            checker=self._checker,
            found=self._found,
            saw=self._saw,
        )
        mix = SCRIPTED if self._options.model == "scripted" else VLLM
        load = Load(
            sender, self._checker, mix, seed=self._options.seed, bundles=tuple(bundles.SHIFTS)
        )
        await load.prepare()
        self._recovery = self._watch(time.monotonic())
        sending = asyncio.create_task(load.run())
        disturbing = asyncio.create_task(self._disturb(load))
        try:
            await asyncio.wait({sending, disturbing}, return_when=asyncio.FIRST_COMPLETED)
            for task in (sending, disturbing):
                if task.done():
                    task.result()
            print("waiting for the last answers and refreshes ...", flush=True)
            await load.drain()
        finally:
            for task in (sending, disturbing, *load.tasks):
                task.cancel()
            await asyncio.wait({sending, disturbing, *load.tasks})
        self._found(await settle(load, sender, self._checker))

    async def _disturb(self, load: Load) -> None:
        """Causes faults, one after another, until the time is over."""
        if await self._well(load, _WARM_S) is None:
            missing = ", ".join(self._recovery.missing())
            raise RuntimeError(
                f"before any fault, these are not answered: {missing}; "
                f"statuses: {report.counted(self._history.statuses)}; the last: {self._last_bad}"
            )
        self._began = time.monotonic()
        until = self._began + self._options.seconds
        lab = Lab(self._stack, crashed=lambda: self._checker.crashed(time.monotonic()))
        for planned in plan(self._options.seed, self._lengths()):
            await asyncio.sleep(planned.pause_s)
            if time.monotonic() + planned.lasts_s >= until:
                return
            await self._one(lab, load, planned)

    async def _one(self, lab: Lab, load: Load, planned: Planned) -> None:
        window = Window(planned.fault, time.monotonic())
        self._checker.windows.append(window)
        await cause(lab, planned)
        window.ended = time.monotonic()
        self._recovered.clear()
        self._recovery = self._watch(window.ended)
        limit = self._options.recovery_s
        seconds = await self._well(load, max(limit, _GIVEN_UP_S))
        self.result.faults.append(
            FaultSeen(
                fault=planned.fault,
                at_s=window.begun - self._began,
                lasted_s=window.ended - window.begun,
                recovered_s=seconds,
            )
        )
        if seconds is None or seconds > limit:
            slow = ", ".join(self._recovery.missing()) if seconds is None else f"{seconds:.1f} s"
            self._found([Violation("slow", f"after {planned.fault}: {slow}", None, None)])
        self._progress(self.result.faults[-1])

    async def _well(self, load: Load, timeout_s: float) -> float | None:
        """Returns the time to recover, once every kind of request is answered well.

        Asks for more of each kind than the load does, so that the time is not that of a gap in it.
        """
        until = time.monotonic() + timeout_s
        while not self._recovered.is_set():
            if time.monotonic() > until:
                return None
            load.probe()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._recovered.wait(), _PROBE_S)
        return self._recovery.seconds()

    def _lengths(self) -> dict[str, tuple[float, float]]:
        kinds = {None, self._options.redis}
        names = self._options.faults or [name for name in FAULTS if FAULTS[name].redis in kinds]
        for name in names:
            if (why := NEEDS.get(name, lambda: None)()) is not None:
                self.result.left_out[name] = why
        return {name: FAULTS[name].lasts_s for name in names if name not in self.result.left_out}

    def _saw(self, call: Call) -> None:
        self._recovery.saw(call)
        if self._recovery.seconds() is not None:
            self._recovered.set()
        if call.operation == "event" and call.status == 202:
            self.result.accepted += 1
        if is_good(call, version=self._version()):
            return
        self._last_bad = f"{call.operation} {call.status} {call.why} {call.answer}"
        if not any(
            window.touches(call.begun, call.ended or call.begun, after_s=_ALONE_AFTER_S)
            for window in self._checker.windows[-3:]
        ):
            self.result.failed_alone += 1

    def _watch(self, since: float) -> Recovery:
        return Recovery(since, version=self._version)

    def _version(self) -> str:
        """Returns the version of the newest service."""
        return self._stack.served[-1].fault if self._stack.served else ""

    def _found(self, violations: Sequence[Violation]) -> None:
        """Enters violations, and writes the story of each subject again."""
        self.result.violations += violations
        for violation in violations:
            print(f"VIOLATED {violation.invariant}: {violation.what}", flush=True)
        for subject in {one.subject for one in violations if one.subject is not None}:
            write_story(
                self._options.stories / f"subject-{subject}.txt",
                [one for one in self.result.violations if one.subject == subject],
                self._history.story(subject),
                self._checker.windows,
                since=self._began,
            )

    def _conclude(self) -> None:
        result = self.result
        if self._options.model == "scripted":
            found = model_calls.check(self._stack.calls(), self._checker.reasons())
            result.model_calls, result.model_inputs = found.calls, found.inputs
            self._found(found.violations)
        result.seconds = time.monotonic() - self._began
        result.operations = report.counted(self._history.operations)
        result.statuses = report.counted(self._history.statuses)
        result.erased = self._checker.erased

    def _progress(self, seen: FaultSeen) -> None:
        recovered = (
            "not recovered"
            if seen.recovered_s is None
            else f"recovered in {seen.recovered_s:.1f} s"
        )
        requests = self._history.statuses.total()
        print(
            f"[{time.monotonic() - self._began:6.0f} s] {seen.fault} lasted {seen.lasted_s:.1f} s, "
            f"{recovered}; {requests:,} requests, {self.result.lost} lost, "
            f"{self.result.wrong} wrong",
            flush=True,
        )
