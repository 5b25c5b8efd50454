"""The load and the checks against the application in this process: right as it is, wrong if broken."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from services.profiles.settings import Settings
from services.profiles.stores.memory.interactions import MemoryInteractions
from services.profiles.stores.memory.stores import MemoryStores
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

pytestmark = pytest.mark.slow

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


def test_without_a_fault_nothing_is_violated(tmp_path: Path, encoder_folder: Path) -> None:
    seen = run(tmp_path, encoder_folder)
    assert seen.violations == []
    assert seen.calls.violations == []
    assert seen.statuses.keys() <= {200, 202, 204, 404, 422}
    assert {"erase", "event", "score", "embeddings", "activate"} <= seen.history.operations.keys()
    assert seen.calls.calls > 100


def test_erasures_that_do_nothing(
    tmp_path: Path, encoder_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def erase(self: MemoryStores, key: Any) -> bool:
        return True

    monkeypatch.setattr(MemoryStores, "erase", erase)
    assert "erased" in run(tmp_path, encoder_folder).invariants()


def test_events_that_are_accepted_and_not_stored(
    tmp_path: Path, encoder_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = MemoryInteractions.append
    count = 0

    async def forgetful(*arguments: Any, **named: Any) -> Any:
        nonlocal count
        count += 1
        if count % 20:
            return await append(*arguments, **named)
        return True

    monkeypatch.setattr(MemoryInteractions, "append", forgetful)
    monkeypatch.setattr("tests.chaos.final.WITHIN_S", 1.0)
    assert "lost" in run(tmp_path, encoder_folder).invariants()
