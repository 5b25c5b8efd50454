"""What a backfill would do, and about how long it would take: nothing is written but the cache."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.backfill.catalogue import put_all
from services.backfill.makers import PushedBack, RowFailed
from services.backfill.parts import Part
from services.backfill.progress import clock

if TYPE_CHECKING:
    from services.backfill.job import Job
    from services.backfill.makers import Maker, Version
    from services.backfill.rows import ProfileRow

_AT_A_TIME = 16


@dataclass(frozen=True, slots=True)
class Estimate:
    """What lies ahead.

    Attributes:
        interactions: Rows of the input.
        bad_rows: Of those, how many are none.
        rows: Profiles that the input asks for.
        done: Of those, how many an earlier run has made from the same.
        sampled: Rows that were asked for, to estimate from.
        sample_failed: How many of them cannot be made.
        prompt_tokens: That the model would read for the rest, as estimated; None without a sample.
        completion_tokens: That it would write.
        seconds: That it would take.
    """

    interactions: int
    bad_rows: int
    rows: int
    done: int
    sampled: int
    sample_failed: int
    prompt_tokens: int | None
    completion_tokens: int | None
    seconds: float | None

    def text(self) -> str:
        """Returns the estimate for people."""
        lines = [
            f"{self.interactions:,} rows of input, {self.bad_rows:,} of them bad",
            f"{self.rows:,} profiles, {self.done:,} of them done, {self.rows - self.done:,} to make",
        ]
        if self.seconds is not None:
            took = clock(self.seconds)
            lines.append(
                f"About {self.prompt_tokens:,} tokens to read and {self.completion_tokens:,} to "
                f"write, in about {took}"
            )
            lines.append(
                f"Estimated from {self.sampled} rows, {self.sample_failed} of which failed; they "
                "are in the cache now"
            )
        return "\n".join(lines)


async def estimate(job: Job, maker: Maker, version: Version, *, sample: int) -> Estimate:
    """Counts, and asks for a few rows from all over the input.

    Args:
        job: Begun.
        maker: Entered.
        version: What profiles would be made with.
        sample: How many rows to ask for; 0 estimates neither tokens nor time.

    Raises:
        PushedBack: The service is not well.
    """
    rows = done = 0
    chosen: list[ProfileRow] = []
    step = max(1, job.grouping.ids // sample) if sample else 0
    for number in range(job.grouping.partitions):
        part = Part(job.options.out, number, dtype=job.options.dtype)
        for row in job.grouping.rows(number):
            rows += 1
            if part.request_of(row.id) == (row.digest, version.digest):
                done += 1
            elif step and rows % step == 0 and len(chosen) < sample:
                chosen.append(row)
    prompt = completion = seconds = None
    failed = 0
    if chosen:
        if job.options.inputs.items is not None:
            await put_all(job.options.inputs.items, maker, patience_s=job.options.patience_s)
        before = await maker.tokens()
        started = time.monotonic()
        failed = await _ask(maker, chosen)
        share = (rows - done) / len(chosen)
        seconds = (time.monotonic() - started) * share
        after = await maker.tokens()
        prompt = round((after[0] - before[0]) * share)
        completion = round((after[1] - before[1]) * share)
    bad = sum(1 for _ in job.grouping.bad_rows())
    return Estimate(
        interactions=job.grouping.interactions,
        bad_rows=bad,
        rows=rows,
        done=done,
        sampled=len(chosen),
        sample_failed=failed,
        prompt_tokens=prompt,
        completion_tokens=completion,
        seconds=seconds,
    )


async def _ask(maker: Maker, rows: list[ProfileRow]) -> int:
    left = iter(rows)
    failed = 0

    async def one_after_another() -> None:
        nonlocal failed
        for row in left:
            try:
                # What is in the cache already will be as quick in the job itself.
                await maker.make(row, max_age_s=None)
            except RowFailed:
                failed += 1
            except PushedBack:
                await asyncio.sleep(1.0)
                failed += 1

    async with asyncio.TaskGroup() as group:
        for _ in range(_AT_A_TIME):
            group.create_task(one_after_another())
    return failed
