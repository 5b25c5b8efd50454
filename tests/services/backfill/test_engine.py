"""The engine between rows and whoever makes profiles, when that goes well and when it does not."""

from __future__ import annotations

import asyncio
import json
import time
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest

from services.backfill import engine
from services.backfill.concurrency import ConcurrencyLimiter, Limit
from services.backfill.engine import Engine
from services.backfill.errors import BackfillError
from services.backfill.inputs.readers import Inputs
from services.backfill.makers import PushedBack, RowFailed
from services.backfill.options import Options
from services.backfill.outcomes import OutcomeCounts
from services.backfill.parts import Part, PartFile, failures_path
from services.profiles.stores.redis import profiles
from tests.services.backfill.made import VERSION, made, row

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from services.backfill.makers import Made
    from services.backfill.rows import ProfileRow

pytestmark = pytest.mark.anyio


class ListGrouping:
    """Rows that are in memory already, partition by partition."""

    def __init__(self, *partitions: list[ProfileRow]) -> None:
        self._partitions = partitions

    def rows(self, number: int) -> list[ProfileRow]:
        return self._partitions[number]


class ScriptedMaker:
    """Makes every row, except those for which a test sets another outcome."""

    def __init__(self) -> None:
        self.asked: list[tuple[ProfileRow, float | None]] = []
        self.answers: dict[str, Callable[[ProfileRow], Made | Awaitable[Made]]] = {}
        self.online_wait_s = 0.0

    async def make(self, row: ProfileRow, *, max_age_s: float | None) -> Made:
        self.asked.append((row, max_age_s))
        await asyncio.sleep(0)
        answer = self.answers.get(row.id, lambda row: made(row.id))(row)
        return await answer if asyncio.iscoroutine(answer) else answer  # type: ignore[return-value]


class Bench:
    """An engine, and all that it works with."""

    def __init__(self, out: Path, *partitions: list[ProfileRow], **options: Any) -> None:
        self.out = out
        self.partitions = partitions
        self.maker = ScriptedMaker()
        self.counts = OutcomeCounts()
        self.finished: list[PartFile] = []
        self.options = Options(
            inputs=Inputs(kind="user", interactions=out),
            out=out,
            url=None,
            **{"concurrency": 8, "patience_s": 0.3, **options},
        )
        self.first = 0
        self.engine = self.new_engine()

    def new_engine(self) -> Engine:
        async def before_first() -> None:
            self.first += 1

        limiter = ConcurrencyLimiter(
            Limit(start=8, highest=8), shortest_pause_s=0.001, longest_pause_s=0.01
        )
        return Engine(
            maker=self.maker,  # type: ignore[arg-type]
            grouping=ListGrouping(*self.partitions),  # type: ignore[arg-type]
            options=self.options,
            version=VERSION,
            started_ms=time.time_ns() // 1_000_000 - 5_000,
            limiter=limiter,
            counts=self.counts,
            finished=self.finished,
            before_first=before_first,
        )

    async def run(self) -> None:
        await self.engine.run(range(len(self.partitions)))

    async def again(self, *partitions: list[ProfileRow]) -> None:
        """Runs the job once more, with another input."""
        self.partitions = partitions
        self.counts, self.finished = OutcomeCounts(), []
        self.maker.asked.clear()
        self.first = 0
        self.engine = self.new_engine()
        await self.run()

    def ids(self) -> list[str]:
        files = sorted(self.out.glob("part-*.parquet"))
        return [id_ for file in files for id_ in pq.read_table(file)["id"].to_pylist()]

    def failures(self, number: int = 0) -> list[dict[str, Any]]:
        return [json.loads(line) for line in failures_path(self.out, number).open()]


def refuse(code: str = "invalid-input", *unknown: str) -> Callable[[ProfileRow], Made]:
    def answer(_: ProfileRow) -> Made:
        raise RowFailed(code, f"{code} it is", unknown)

    return answer


def push_back(times: int) -> Callable[[ProfileRow], Made]:
    left = [times]

    def answer(row: ProfileRow) -> Made:
        if left[0]:
            left[0] -= 1
            raise PushedBack("503 model-unavailable: down", 0.0)
        return made(row.id)

    return answer


async def test_every_row_of_every_partition_comes_out_once(tmp_path: Path) -> None:
    rows = [row(f"u{number:03}") for number in range(90)]
    bench = Bench(tmp_path, rows[:50], [], rows[50:])
    await bench.run()
    assert bench.ids() == [one.id for one in rows]
    assert [(file.file, file.rows) for file in sorted(bench.finished, key=lambda f: f.file)] == [
        ("part-00000.parquet", 50),
        ("part-00002.parquet", 40),
    ]
    assert (bench.counts.generated, bench.counts.rows, bench.first) == (90, 90, 1)


async def test_what_is_done_is_passed_over_and_what_changed_is_not(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [row("a"), row("b"), row("c"), row("d")])
    await bench.run()
    await bench.again([row("a"), row("b", ("x",)), row("c", text="new title"), row("e")])

    ages = {asked.id: age for asked, age in bench.maker.asked}
    assert ages.keys() == {"b", "c", "e"}
    assert bench.counts.unchanged == 1
    assert bench.ids() == ["a", "b", "c", "e"]
    # Another history is another request, and the service sees that; another text it cannot see.
    assert ages["b"] is ages["e"] is None
    assert ages["c"] == pytest.approx(5, abs=2)

    await bench.again([row("a"), row("b", ("x",)), row("c", text="new title"), row("e")])
    assert (bench.maker.asked, bench.first, bench.counts.unchanged) == ([], 0, 4)


async def test_refresh_takes_nothing_from_before_the_job(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [row("a")], refresh=True)
    await bench.run()
    assert bench.maker.asked[0][1] == pytest.approx(5, abs=2)


async def test_a_failed_row_costs_only_itself_and_is_tried_again_next_time(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [row("a"), row("b"), row("c")])
    bench.maker.answers["b"] = refuse("nothing-to-read")
    await bench.run()
    assert bench.ids() == ["a", "c"]
    assert bench.failures() == [
        {
            "id": "b",
            "history": ["a", "b"],
            "error": {"code": "nothing-to-read", "detail": "nothing-to-read it is"},
        }
    ]
    del bench.maker.answers["b"]
    await bench.again([row("a"), row("b"), row("c")])
    assert [asked.id for asked, _ in bench.maker.asked] == ["b"]
    assert bench.ids() == ["a", "b", "c"]
    assert bench.failures() == []


async def test_what_fails_by_chance_has_three_chances(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [row("a"), row("b")])
    times: list[float] = []

    def unlucky(asked: ProfileRow) -> Made:
        times.append(time.monotonic())
        if len(times) < 3:
            raise RowFailed("malformed-generation", "not a profile")
        return made(asked.id)

    bench.maker.answers = {"a": unlucky, "b": refuse("malformed-generation")}
    await bench.run()
    assert [failure["id"] for failure in bench.failures()] == ["b"]
    assert sorted(asked.id for asked, _ in bench.maker.asked) == ["a"] * 3 + ["b"] * 3
    # Sooner, the service gives the failure that it remembers, and that is no chance.
    remembered_s = profiles.FAILURE_MS / 1000
    assert all(later - sooner > remembered_s for sooner, later in pairwise(times))


async def test_a_run_of_failures_ends_it_and_what_was_made_stays(tmp_path: Path) -> None:
    rows = [row(f"u{number}") for number in range(60)]
    bench = Bench(tmp_path, rows, failures_in_a_row=20)
    for one in rows[10:]:
        bench.maker.answers[one.id] = refuse("unknown-items")
    with pytest.raises(BackfillError, match="the last 20 rows have all failed, 20 of them with"):
        await bench.run()
    assert len(bench.maker.asked) < 60
    assert 20 <= len(bench.failures()) < 50

    bench.maker.answers.clear()
    await bench.again(rows)
    assert bench.counts.unchanged == 10
    assert len(bench.ids()) == 60


async def test_what_passes_by_itself_is_waited_for(tmp_path: Path) -> None:
    rows = [row(f"u{number}") for number in range(12)]
    bench = Bench(tmp_path, rows, patience_s=60)
    down = push_back(40)
    for one in rows:
        bench.maker.answers[one.id] = down
    await bench.run()
    assert (bench.counts.generated, bench.counts.failed) == (12, 0)
    assert bench.counts.pushed_back == 40


async def test_patience_has_an_end(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [row("a")])
    bench.maker.answers["a"] = push_back(1_000_000)
    with pytest.raises(BackfillError, match=r"for 0\.3 s not one profile was made: 503 model-un"):
        await bench.run()


async def test_a_row_that_is_always_pushed_back_while_others_pass_fails(tmp_path: Path) -> None:
    rows = [row(f"u{number:03}") for number in range(200)]
    bench = Bench(tmp_path, rows, patience_s=60)
    bench.maker.answers["u000"] = push_back(1_000_000)
    await bench.run()
    assert bench.counts.failed == 1
    assert bench.failures()[0]["error"]["code"] == "unavailable"
    assert len(bench.ids()) == 199


async def test_items_that_are_gone_are_dropped_where_that_is_wanted(tmp_path: Path) -> None:
    rows = [row("a", ("gone", "here")), row("b", ("gone",))]
    bench = Bench(tmp_path, rows, unknown_items="drop")

    def answer(asked: ProfileRow) -> Made:
        if "gone" in asked.history:
            raise RowFailed("unknown-items", "1 item id is not in the catalogue", ["gone"])
        return made(asked.id)

    bench.maker.answers = {"a": answer, "b": answer}
    await bench.run()
    assert bench.ids() == ["a"]
    assert [failure["id"] for failure in bench.failures()] == ["b"]
    await bench.again(rows)
    assert [asked.id for asked, _ in bench.maker.asked] == ["b"]


async def test_another_version_in_the_middle_ends_it(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [row("a"), row("b")])
    bench.maker.answers["b"] = lambda asked: made(asked.id, version="ffff")
    with pytest.raises(BackfillError, match="version ffff now, and did with 00112233aabbccdd"):
        await bench.run()


async def test_stopped_it_lets_what_is_under_way_finish_and_begins_no_more(tmp_path: Path) -> None:
    rows = [row(f"u{number:03}") for number in range(100)]
    bench = Bench(tmp_path, rows)
    eight, let = asyncio.Event(), asyncio.Event()

    async def held(asked: ProfileRow) -> Made:
        if len(bench.maker.asked) == 8:
            eight.set()
        await let.wait()
        return made(asked.id)

    bench.maker.answers = {one.id: held for one in rows}
    running = asyncio.create_task(bench.run())
    await eight.wait()
    bench.engine.stop()
    let.set()
    await running
    assert len(bench.maker.asked) == bench.counts.generated == 8

    await bench.again(rows)
    assert bench.counts.unchanged == 8
    assert len(bench.ids()) == 100


async def test_no_more_partitions_are_begun_than_rows_may_be_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "_OPEN_ROWS", 4)
    partitions = [[row(f"{part}-{number}") for number in range(3)] for part in range(4)]
    bench = Bench(tmp_path, *partitions)
    held, let = asyncio.Event(), asyncio.Event()

    async def wait(asked: ProfileRow) -> Made:
        held.set()
        await let.wait()
        return made(asked.id)

    bench.maker.answers = {"0-0": wait, "1-0": wait}
    running = asyncio.create_task(bench.run())
    await held.wait()
    await asyncio.sleep(0.1)
    # Three rows that are not finished leave room for another partition, six do not.
    assert {asked.id[0] for asked, _ in bench.maker.asked} == {"0", "1"}
    let.set()
    await running
    assert len(bench.ids()) == 12


async def test_it_can_be_stopped_while_there_is_no_room_for_another_partition(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "_OPEN_ROWS", 1)
    bench = Bench(tmp_path, [row("a"), row("b")], [row("c")])
    held, let = asyncio.Event(), asyncio.Event()

    async def wait(asked: ProfileRow) -> Made:
        held.set()
        await let.wait()
        return made(asked.id)

    bench.maker.answers["a"] = wait
    running = asyncio.create_task(bench.run())
    await held.wait()
    await asyncio.sleep(0.05)
    bench.engine.stop()
    let.set()
    await asyncio.wait_for(running, 5)
    assert bench.counts.generated < 3


async def test_who_makes_rows_waits_for_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "_FLUSH_ROWS", 5)
    most = 0
    write = Part.write

    def slowly(part: Part, rows: list[tuple[ProfileRow, Made]]) -> None:
        nonlocal most
        most = max(most, len(rows), part.buffered)
        time.sleep(0.02)
        write(part, rows)

    monkeypatch.setattr(Part, "write", slowly)
    bench = Bench(tmp_path, [row(f"u{number:03}") for number in range(100)])
    await bench.run()
    assert len(bench.ids()) == 100
    # Five, and one more from each of the eight who were at work when these were full.
    assert most <= 5 + 8
