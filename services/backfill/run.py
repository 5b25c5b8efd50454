"""Runs a backfill: in this process, or each partition as a task of Ray Data."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from services.backfill.catalogue import put_all
from services.backfill.concurrency import ConcurrencyLimiter, Limit
from services.backfill.dry_run import Estimate, estimate
from services.backfill.engine import Engine
from services.backfill.errors import BackfillError, Misconfigured
from services.backfill.job import Job, Summary, begun, write_refused
from services.backfill.makers import Maker, PushedBack, Version
from services.backfill.outcomes import OutcomeCounts
from services.backfill.parts import WORK, PartFile
from services.backfill.progress import Progress
from services.backfill.retries import retry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from services.backfill.grouping.grouped import Grouping
    from services.backfill.options import Options
    from services.backfill.push import Push

_START = 32
"""The first limit of requests in flight."""

_LOOK_EVERY_S = 0.5
"""How often a node checks whether it has to stop."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ray:
    """Where to run partitions: a cluster's address, or None for one on this machine."""

    address: str | None


def run(options: Options, *, ray: Ray | None = None, push: Push | None = None) -> Summary:
    """Makes every profile of the input that is not made yet.

    Args:
        options: How.
        ray: Run on a cluster; None runs in this process.
        push: Pushes the progress to a Prometheus push gateway.

    Raises:
        BackfillError: The job cannot begin, or its output cannot be written.
    """
    with begun(options, progress=_reading) as job:
        return asyncio.run(_run(job, ray=ray, push=push))


def dry_run(options: Options, *, sample: int) -> Estimate:
    """Returns what `run` would do. The grouped input stays in the folder, for `run` to use.

    Args:
        options: How.
        sample: Rows to ask for, to estimate tokens and time from.

    Raises:
        BackfillError: The job could not begin, or the service is not well.
    """

    async def go(job: Job) -> Estimate:
        async with maker_for(options) as maker:
            version = await _version(maker, options)
            try:
                return await estimate(job, maker, version, sample=sample)
            except PushedBack as error:
                raise BackfillError(f"the service is not well: {error.why}") from error

    with begun(options, progress=_reading) as job:
        return asyncio.run(go(job))


async def _run(job: Job, *, ray: Ray | None, push: Push | None) -> Summary:
    options, counts = job.options, OutcomeCounts()
    refused: list[dict[str, Any]] = []
    limiter = _limiter(options)
    limit = None if ray else lambda: limiter.limit
    async with maker_for(options) as maker:
        version = await _version(maker, options)
        job.announce(version)
        left_out = await _left_out(maker, options)

        stopping = _Stopping()

        async def put_items() -> None:
            if options.inputs.items is not None:
                refused.extend(
                    await put_all(
                        options.inputs.items,
                        maker,
                        patience_s=options.patience_s,
                        stop=stopping.asked,
                    )
                )

        parts: list[PartFile] = []
        failure: BackfillError | None = None
        with (
            Progress(counts, job.grouping.ids, limit=limit),
            _pushed(push, counts, limit),
            stopping,
        ):
            try:
                if ray is not None:
                    await put_items()
                    if not stopping.asked.is_set():
                        await _over_ray(
                            job,
                            ray,
                            version=version.digest,
                            counts=counts,
                            finished=parts,
                            stopping=stopping,
                        )
                else:
                    engine = Engine(
                        maker=maker,
                        grouping=job.grouping,
                        options=options,
                        version=version.digest,
                        started_ms=job.started_ms,
                        limiter=limiter,
                        counts=counts,
                        finished=parts,
                        left_out=left_out,
                        before_first=put_items,
                    )
                    stopping.then(engine.stop)
                    await engine.run(range(job.grouping.partitions))
            except BackfillError as error:
                failure = error
    write_refused(options.out, refused)
    return job.conclude(
        version,
        parts,
        counts,
        refused=len(refused),
        stopped=stopping.signal,
        failure=failure,
    )


async def _over_ray(
    job: Job,
    ray: Ray,
    *,
    version: str,
    counts: OutcomeCounts,
    finished: list[PartFile],
    stopping: _Stopping,
) -> None:
    from services.backfill import ray_engine

    work = partial(
        run_partition,
        options=job.options,
        grouping=job.grouping,
        version=version,
        started_ms=job.started_ms,
        env={name: value for name, value in os.environ.items() if name.startswith("RECLM_")},
    )
    stop = _stop_file(job.options)
    stop.unlink(missing_ok=True)
    stopping.then(stop.touch)
    results = ray_engine.run(range(job.grouping.partitions), work, address=ray.address)

    def take() -> None:
        with contextlib.closing(results):
            for result in results:
                counts.add(OutcomeCounts(**result["counts"]))
                if result["part"] is not None:
                    finished.append(PartFile(**result["part"]))

    await asyncio.to_thread(take)


def run_partition(
    number: int,
    *,
    options: Options,
    grouping: Grouping,
    version: str,
    started_ms: int,
    env: Mapping[str, str],
) -> dict[str, Any]:
    """Runs one partition in whatever process this is; returns its outcomes and its file.

    Args:
        number: Of the partition.
        options: The job's.
        grouping: On a folder that every node of the cluster sees.
        version: Digest of what profiles are to be made with.
        started_ms: When the job began.
        env: The RECLM_* variables of who started the job.
    """
    os.environ.update(env)
    counts = OutcomeCounts()
    parts: list[PartFile] = []
    stop = _stop_file(options)

    async def stop_when_asked(engine: Engine) -> None:
        while not stop.exists():  # noqa: ASYNC110 - files have no events
            await asyncio.sleep(_LOOK_EVERY_S)
        engine.stop()

    async def go() -> None:
        async with maker_for(options) as maker:
            engine = Engine(
                maker=maker,
                grouping=grouping,
                options=options,
                version=version,
                started_ms=started_ms,
                limiter=_limiter(options),
                counts=counts,
                finished=parts,
                left_out=await _left_out(maker, options),
            )
            watching = asyncio.create_task(stop_when_asked(engine))
            try:
                await engine.run([number])
            finally:
                watching.cancel()

    if not stop.exists():
        asyncio.run(go())
    return {"counts": counts.to_dict(), "part": asdict(parts[0]) if parts else None}


def _stop_file(options: Options) -> Path:
    """Returns the file whose existence asks the nodes of a cluster to stop."""
    return options.out / WORK / "stop"


def _limiter(options: Options) -> ConcurrencyLimiter:
    return ConcurrencyLimiter(
        Limit(highest=options.concurrency, start=min(_START, options.concurrency))
    )


def maker_for(options: Options) -> Maker:
    """Returns the maker of the profiles; imported here, since only one of the two is needed.

    Raises:
        BackfillError: The address, the key or the settings are wrong.
    """
    if options.url is not None:
        from services.backfill.http_maker import HttpMaker

        return HttpMaker(url=options.url, kind=options.inputs.kind)
    from services.backfill.direct_maker import DirectMaker
    from services.profiles.settings import Settings, faults

    try:
        settings = Settings()
    except ValueError as error:
        raise Misconfigured(*faults(error)) from error
    return DirectMaker(settings=settings, kind=options.inputs.kind)


async def _version(maker: Maker, options: Options) -> Version:
    where = "(`reclm-serve up` starts one, --url says where)" if options.url else "(RECLM_*)"
    return await retry(
        maker.version,
        patience_s=options.patience_s,
        trouble=f"the service {where} did not answer",
    )


async def _left_out(maker: Maker, options: Options) -> frozenset[str]:
    """Returns the users whom the service has erased: their input is of before the erasure."""
    if options.with_erased or options.inputs.kind != "user":
        return frozenset()
    erased = await retry(
        maker.erased, patience_s=options.patience_s, trouble="the deny list was not read"
    )
    if erased is None:
        sys.stderr.write(
            "the deny list was not consulted, so users who were erased are not left out: the "
            "service shows it to an admin key (RECLM_API_KEY)\n"
        )
        return frozenset()
    return erased


class _Stopping:
    """Notes SIGINT and SIGTERM while it is entered, instead of ending the process.

    Attributes:
        signal: The one that came, None while there was none.
        asked: Set when one comes.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self.asked = asyncio.Event()
        self._then: Callable[[], None] | None = None

    def then(self, act: Callable[[], None]) -> None:
        """Has `act` called when a signal comes, or now if one has come already."""
        self._then = act
        if self.signal is not None:
            act()

    def __enter__(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._note, number)

    def __exit__(self, *exc_info: object) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)

    def _note(self, number: int) -> None:
        self.signal = number
        self.asked.set()
        sys.stderr.write("\nStopping when the requests in flight are done ...\n")
        if self._then is not None:
            self._then()


@contextlib.contextmanager
def _pushed(
    push: Push | None, counts: OutcomeCounts, limit: Callable[[], int] | None
) -> Iterator[None]:
    if push is None:
        yield
        return
    with push.of(counts, limit):
        yield


def _reading(rows: int) -> None:
    sys.stderr.write(f"Reading: {rows:,} rows ...\n")
