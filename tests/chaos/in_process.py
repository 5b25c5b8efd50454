"""A short run of the load against the application in this process, without servers and faults."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from typing import TYPE_CHECKING

from services.profiles.settings import Settings
from tests.chaos import bundles, model_calls
from tests.chaos.checker import Checker
from tests.chaos.final import settle
from tests.chaos.history import History, Violation, Window
from tests.chaos.load import POPULATION, SCRIPTED, Load, Mix
from tests.chaos.model import MODELS, Server, calls_in
from tests.chaos.run import KNOWN
from tests.chaos.sender import Sender
from tests.support.asgi import running
from tests.support.processes import free_port

if TYPE_CHECKING:
    from pathlib import Path

    from tests.chaos.history import Call

SECONDS = 4.0
MIX = Mix(rate=60.0, shares={**SCRIPTED.shares, "erasure": 8})


class Seen:
    """What came of a short run."""

    def __init__(self) -> None:
        self.violations: list[Violation] = []
        self.history = History()
        self.statuses: Counter[int | None] = Counter()
        self.calls: model_calls.Counted

    def found(self, violations: list[Violation]) -> None:
        self.violations += violations

    def saw(self, call: Call) -> None:
        self.statuses[call.status] += 1

    def invariants(self) -> set[str]:
        return {violation.invariant for violation in self.violations}


def run(folder: Path, encoder: Path) -> Seen:
    """Loads an application for some seconds, without faults."""
    return asyncio.run(_run(folder, encoder))


async def _run(folder: Path, encoder: Path) -> Seen:
    seen = Seen()
    known = [f"reader-{n}" for n in range(KNOWN)]
    known += [f"clicker-{POPULATION['reader'] + n}" for n in range(KNOWN)]
    checker = Checker(
        versions=frozenset(MODELS),
        bundles=bundles.write(folder / "bundles", encoder=encoder, known=known),
        traced=True,
        synced=True,
        services=[Window(MODELS[0], time.monotonic())],
    )
    port = free_port()
    model = asyncio.create_task(Server(folder / "calls", seed=1).serve(port))
    settings = Settings(
        store="memory",
        vllm_url=f"http://127.0.0.1:{port}",
        model=MODELS[0],
        encoder_path=encoder,
        bundles=folder / "bundles",
        history_tokens=2000,
        refresh_quiet_s=0.2,
        log_level="error",
    )
    async with running(settings) as client:
        client.timeout = 60
        sender = Sender(
            client, history=seen.history, checker=checker, found=seen.found, saw=seen.saw
        )
        load = Load(sender, checker, MIX, seed=1, bundles=tuple(bundles.SHIFTS))
        await load.prepare()
        sending = asyncio.create_task(load.run())
        await asyncio.wait({sending}, timeout=SECONDS)
        await load.drain()
        await sending
        seen.found(await settle(load, sender, checker))
    model.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await model
    seen.calls = model_calls.check(calls_in(folder / "calls"), checker.reasons())
    return seen
