"""The items of the input go into the catalogue: the last of each id, and no more once the job stops."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from typing import TYPE_CHECKING

import pytest

from reclm_client import Item
from services.backfill import catalogue
from services.backfill import run as running
from services.backfill.catalogue import put_all
from services.backfill.inputs.readers import Inputs
from services.backfill.makers import PushedBack, RowFailed
from services.backfill.options import Options
from tests.benchmarks.instant_backfill import InstantMaker
from tests.services.backfill.made import VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path


class Catalogue(InstantMaker):
    """Keeps what it is sent, and does something else each time."""

    def __init__(self, then: Callable[[], None] = lambda: None) -> None:
        super().__init__(VERSION)
        self.sent: list[list[Item]] = []
        self._then = then

    async def put_items(self, items: Sequence[Item]) -> list[tuple[Item, RowFailed]]:
        self.sent.append(list(items))
        self._then()
        await asyncio.sleep(0.01)
        return [(item, RowFailed("invalid-input", "no title")) for item in items if not item.title]


@pytest.fixture
def items(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Five items, two of them with the same id, that go in portions of two."""
    monkeypatch.setattr(catalogue, "_PORTION", 2)
    path = tmp_path / "items.csv"
    path.write_text("item_id,title\na,Alien\nb,Brazil\na,Aliens\nc,\nd,Dune\n")
    return path


@pytest.mark.anyio
async def test_of_items_with_one_id_only_the_last_is_sent(items: Path) -> None:
    maker = Catalogue()
    refused = await put_all(items, maker, patience_s=1)
    assert maker.sent == [
        [Item("a", "Aliens"), Item("b", "Brazil")],
        [Item("c", ""), Item("d", "Dune")],
    ]
    assert [(row["item_id"], row["error"]["detail"]) for row in refused] == [("c", "no title")]


@pytest.mark.anyio
async def test_a_stop_is_heeded_between_portions(items: Path) -> None:
    stop = asyncio.Event()
    maker = Catalogue(stop.set)
    await put_all(items, maker, patience_s=1, stop=stop)
    assert len(maker.sent) == 1


@pytest.mark.anyio
async def test_a_stop_ends_the_wait_for_a_catalogue_that_takes_nothing(items: Path) -> None:
    def push_back() -> None:
        raise PushedBack("429 overloaded", retry_after_s=60)

    stop = asyncio.Event()
    maker = Catalogue(push_back)
    putting = asyncio.create_task(put_all(items, maker, patience_s=60, stop=stop))
    await asyncio.sleep(0.05)
    stop.set()
    assert await asyncio.wait_for(putting, 5) == []
    assert len(maker.sent) == 1


@pytest.mark.parametrize("ray", [None, running.Ray(address=None)])
def test_a_signal_during_the_upload_ends_the_job_before_the_first_row(
    ray: running.Ray | None, items: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    maker = Catalogue(lambda: os.kill(os.getpid(), signal.SIGTERM))
    monkeypatch.setattr(running, "maker_for", lambda _: maker)
    interactions = tmp_path / "interactions.csv"
    interactions.write_text("user_id,item_id\nu,a\n")
    inputs = Inputs(kind="user", interactions=interactions, items=items)
    began = time.monotonic()
    summary = running.run(Options(inputs=inputs, out=tmp_path / "out", url=None), ray=ray)
    assert (summary.status, summary.signal, summary.rows) == ("stopped", signal.SIGTERM, 0)
    assert sum(summary.outcomes.values()) == 0
    assert len(maker.sent) == 1
    assert json.loads((tmp_path / "out" / "manifest.json").read_bytes())["complete"] is False
    assert time.monotonic() - began < 5
