"""Sends the rows of partitions to the maker of profiles, and writes its answers to the output.

One producer reads rows and skips those that are done. Workers request profiles, as many at a time as
the limiter allows. A partition is finished when its last row has an outcome; meanwhile requests for
rows of the next partitions are in flight already.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from services.backfill.errors import BackfillError
from services.backfill.makers import PushedBack, RowFailed
from services.backfill.parts import Part, PartFile
from services.profiles.telemetry import LOGGER

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable

    from services.backfill.concurrency import ConcurrencyLimiter
    from services.backfill.grouping.grouped import Grouping
    from services.backfill.makers import Made, Maker
    from services.backfill.options import Options
    from services.backfill.outcomes import OutcomeCounts
    from services.backfill.rows import ProfileRow

T = TypeVar("T")

_FLUSH_ROWS = 1_000
_FLUSH_S = 15.0
"""A crash loses at most this much work, and only if the cache has lost it too."""

_OPEN_ROWS = 10_000
"""With more rows in unfinished partitions no other partition is begun, to bound memory."""

_TRIES = 10
"""How often one row may be refused for now while others succeed."""

_BY_CHANCE = "malformed-generation"
_CHANCES = 3
"""Attempts for a row whose failure is chance: the model wrote something that is no profile."""
_CHANCE_AFTER_S = 0.75
"""The service repeats a failure to all callers within half a second."""

_TURN = 2_000
"""Rows that the producer skips before it yields to the workers."""


class Engine:
    """Runs partitions in this process.

    Args:
        maker: Makes the profiles; entered.
        grouping: The rows.
        options: How.
        version: Digest of what profiles are to be made with: no others go into the output.
        started_ms: When the job began, in Unix milliseconds: what is older does not count as an
            answer to a changed input.
        limiter: How many requests may be under way.
        counts: Receives the outcomes of rows.
        finished: Receives the files of finished partitions.
        left_out: Ids of rows that are neither asked for nor kept.
        before_first: Awaited once, before the first row is asked for.
    """

    def __init__(
        self,
        *,
        maker: Maker,
        grouping: Grouping,
        options: Options,
        version: str,
        started_ms: int,
        limiter: ConcurrencyLimiter,
        counts: OutcomeCounts,
        finished: list[PartFile],
        left_out: Collection[str] = (),
        before_first: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._maker = maker
        self._grouping = grouping
        self._options = options
        self._version = version
        self._started_ms = started_ms
        self._limiter = limiter
        self._counts = counts
        self._left_out = left_out
        self._before_first = before_first
        self._queue: asyncio.Queue[tuple[_Open, ProfileRow, bool]] = asyncio.Queue(
            options.concurrency
        )
        self._disk = ThreadPoolExecutor(max_workers=1, thread_name_prefix="parts")
        self._open: dict[int, _Open] = {}
        self._room = asyncio.Event()
        self._flushing = asyncio.Lock()
        self._finished = finished
        self._stop = asyncio.Event()
        self._succeeded = 0
        self._trouble_since: float | None = None
        self._failures: deque[RowFailed] = deque(maxlen=options.failures_in_a_row)

    def stop(self) -> None:
        """Begins no more rows. `run` returns when those under way have their outcome."""
        self._stop.set()
        # The producer may be waiting for a partition to end that no longer will.
        self._room.set()

    async def run(self, partitions: Iterable[int]) -> None:
        """Brings every row of the partitions to an outcome.

        Raises:
            BackfillError: There is no point in going on; all that was made is in the journal.
        """
        workers = []
        try:
            async with asyncio.TaskGroup() as group:
                workers = [
                    group.create_task(self._work()) for _ in range(self._options.concurrency)
                ]
                workers.append(group.create_task(self._flush_now_and_then()))
                await self._produce(partitions)
                await self._queue.join()
                for worker in workers:
                    worker.cancel()
        except BaseExceptionGroup as group:
            # The first that failed; it has cancelled the others.
            raise group.exceptions[0] from group
        finally:
            await self._save()
            self._disk.shutdown()

    async def _produce(self, partitions: Iterable[int]) -> None:
        for number in partitions:
            await self._wait_for_room()
            if self._stop.is_set():
                return
            opened = _Open(Part(self._options.out, number, dtype=self._options.dtype))
            self._open[number] = opened
            await self._produce_rows(opened)
            if self._stop.is_set():
                return
            opened.all_read = True
            await self._finish_if_done(opened)

    async def _wait_for_room(self) -> None:
        while not self._stop.is_set():
            if sum(opened.rows for opened in self._open.values()) < _OPEN_ROWS:
                return
            self._room.clear()
            await self._room.wait()

    async def _produce_rows(self, opened: _Open) -> None:
        part = opened.part
        for count, row in enumerate(self._grouping.rows(part.number)):
            if count % _TURN == 0:
                await asyncio.sleep(0)
            opened.rows += 1
            if row.id in self._left_out:
                self._counts.erased += 1
                continue
            before = part.request_of(row.id)
            if before == (row.digest, self._version):
                part.keep(row.id)
                self._counts.unchanged += 1
                continue
            if self._stop.is_set():
                return
            if self._before_first is not None:
                await self._before_first()
                self._before_first = None
            opened.pending += 1
            await self._queue.put((opened, row, self._reworded(row, before)))

    def _reworded(self, row: ProfileRow, before: tuple[bytes, str] | None) -> bool:
        """Returns whether a row has the same ids as before, and the texts behind them have changed.

        The service does not know: for it, the same ids are the same request.
        """
        return before is not None and before[0][:8] == row.digest[:8] and before[0] != row.digest

    async def _work(self) -> None:
        while True:
            opened, row, reworded = await self._queue.get()
            try:
                if await self._outcome(opened.part, row, fresh=reworded or self._options.refresh):
                    await self._flush(opened.part, at_least=_FLUSH_ROWS)
                    opened.pending -= 1
                    await self._finish_if_done(opened)
            finally:
                self._queue.task_done()

    async def _outcome(self, part: Part, row: ProfileRow, *, fresh: bool) -> bool:
        """Asks until there is an outcome. False if the job stops before there is one."""
        asked = row
        tries, chances, others_before = 0, 0, self._succeeded
        unlucky = False
        while True:
            if unlucky:
                await asyncio.sleep(_CHANCE_AFTER_S)
            async with self._limiter.slot() as slot:
                if self._stop.is_set():
                    return False
                try:
                    max_age_s = self._age_s() if fresh else None
                    made = await self._maker.make(asked, max_age_s=max_age_s)
                    slot.told(self._maker.online_wait_s)
                except PushedBack as error:
                    slot.pushed_back(error.retry_after_s)
                    self._counts.pushed_back += 1
                    failure = self._trouble(error)
                    tries += 1
                    if tries < _TRIES or self._succeeded - others_before < _TRIES:
                        continue
                except RowFailed as error:
                    unlucky = error.code == _BY_CHANCE
                    slot.answered(cheap=not unlucky)
                    chances += unlucky
                    if unlucky and chances < _CHANCES:
                        continue
                    rest = self._without_unknown(asked, error)
                    if rest is not None:
                        asked = rest
                        continue
                    failure = error
                else:
                    slot.answered(cheap=made.status == "cached")
                    self._add(part, row, made)
                    return True
            self._fail(part, row, failure)
            return True

    def _age_s(self) -> float:
        return max(0.0, time.time() - self._started_ms / 1000)

    def _without_unknown(self, row: ProfileRow, error: RowFailed) -> ProfileRow | None:
        """Returns a row without the items that the catalogue lacks, if that is wanted and helps."""
        if self._options.unknown_items == "fail" or not error.unknown:
            return None
        rest = tuple(entry for entry in row.history if entry not in error.unknown)
        return replace(row, history=rest) if rest and rest != row.history else None

    def _add(self, part: Part, row: ProfileRow, made: Made) -> None:
        if made.version != self._version:
            raise BackfillError(
                f"the service makes profiles with version {made.version} now, and did with "
                f"{self._version} when the job began; start the same command again, and all rows "
                "are made with the new one"
            )
        part.add(row, made)
        if made.status == "generated":
            self._counts.generated += 1
        else:
            self._counts.cached += 1
        self._succeeded += 1
        self._trouble_since = None
        self._failures.clear()

    def _fail(self, part: Part, row: ProfileRow, error: RowFailed) -> None:
        part.fail(row, error)
        self._counts.failed += 1
        self._failures.append(error)
        if len(self._failures) == self._failures.maxlen:
            (code, count), *_ = Counter(failure.code for failure in self._failures).most_common(1)
            raise BackfillError(
                f"the last {len(self._failures)} rows have all failed, {count} of them with "
                f"{code}; the last one: {error.detail}. Mend the input or the catalogue, then "
                "start the same command again"
            )

    def _trouble(self, error: PushedBack) -> RowFailed:
        """Records a refusal; raises BackfillError when there was nothing else for too long."""
        now = time.monotonic()
        if self._trouble_since is None:
            self._trouble_since = now
        if now - self._trouble_since > self._options.patience_s:
            raise BackfillError(
                f"for {self._options.patience_s:g} s not one profile was made: {error.why}. See "
                "to that, then start the same command again"
            )
        return RowFailed("unavailable", f"pushed back {_TRIES} times: {error.why}")

    async def _flush_now_and_then(self) -> None:
        while True:
            await asyncio.sleep(_FLUSH_S)
            for opened in list(self._open.values()):
                await self._flush(opened.part)

    async def _flush(self, part: Part, *, at_least: int = 1) -> None:
        """Writes the buffered rows, if there are so many; other writers wait meanwhile."""
        if part.buffered < at_least:
            return
        async with self._flushing:
            if part.buffered >= at_least:
                rows = part.take()
                await self._on_disk(lambda: part.write(rows))

    async def _save(self) -> None:
        """Writes what is made so far to the journal, whatever ends the run."""
        for opened in self._open.values():
            try:
                await self._flush(opened.part)
                await self._on_disk(opened.part.write_failures)
            except BackfillError as error:
                # No room: the reason why the run ends, or soon to be met again.
                LOGGER.warning("rows are lost to the journal", extra={"data": {"why": str(error)}})

    async def _finish_if_done(self, opened: _Open) -> None:
        if not opened.all_read or opened.pending or opened.finishing:
            return
        opened.finishing = True
        async with self._flushing:
            file = await self._on_disk(opened.part.finish)
        del self._open[opened.part.number]
        self._room.set()
        if file is not None:
            self._finished.append(file)

    async def _on_disk(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._disk, work)


class _Open:
    """A partition whose rows are being read or asked for."""

    def __init__(self, part: Part) -> None:
        self.part = part
        self.rows = 0
        self.pending = 0
        self.all_read = False
        self.finishing = False
