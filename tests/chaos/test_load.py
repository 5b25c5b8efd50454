"""The load and the checks against the application in this process: right as it is, wrong if broken."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from services.profiles.stores.memory.interactions import MemoryInteractions
from services.profiles.stores.memory.stores import MemoryStores
from tests.chaos.in_process import run

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from services.profiles.stores.base import Event

pytestmark = pytest.mark.slow


def test_without_a_fault_nothing_is_violated(tmp_path: Path, encoder_folder: Path) -> None:
    seen = run(tmp_path, encoder_folder)
    assert seen.violations == []
    assert seen.calls.violations == []
    assert seen.statuses.keys() <= {200, 202, 204, 404, 409, 422}
    assert {"erase", "event", "score", "embeddings", "activate"} <= seen.history.operations.keys()
    assert seen.calls.calls > 100


def test_erasures_that_do_nothing(
    tmp_path: Path, encoder_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def erase(self: MemoryStores, key: Any) -> bool:
        return True

    monkeypatch.setattr(MemoryStores, "erase", erase)
    monkeypatch.setattr("tests.chaos.final.WITHIN_S", 1.0)
    assert "erased" in run(tmp_path, encoder_folder).invariants()


def test_events_that_are_accepted_and_not_stored(
    tmp_path: Path, encoder_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = MemoryInteractions.append
    count = 0

    async def forgetful(
        self: MemoryInteractions, tenant: str, events: Sequence[Event], **named: Any
    ) -> dict[str, int]:
        nonlocal count
        count += 1
        if count % 20:
            return await append(self, tenant, events, **named)
        return dict.fromkeys((event.user_id for event in events), 1)

    monkeypatch.setattr(MemoryInteractions, "append", forgetful)
    monkeypatch.setattr("tests.chaos.final.WITHIN_S", 1.0)
    assert "lost" in run(tmp_path, encoder_folder).invariants()
