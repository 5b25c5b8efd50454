"""One backfill from beginning to end: the folder, the input, the engine, the summary.

The folder holds `part-*.parquet`, `manifest.json`, `failures.ndjson` (rows that could not be made,
in the form of `--histories`), `bad-rows.ndjson` (input that is no row), `refused-items.ndjson`, and
`_work`, which is gone when the job is complete.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import shutil
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from services.backfill.errors import BackfillError, room_for
from services.backfill.grouping.grouped import Grouping
from services.backfill.manifest import NAME, OutputManifest
from services.backfill.parts import WORK, failures_path
from services.common.files import atomic_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from services.backfill.makers import Version
    from services.backfill.options import Options
    from services.backfill.outcomes import OutcomeCounts
    from services.backfill.parts import PartFile

FAILURES = "failures.ndjson"
BAD_ROWS = "bad-rows.ndjson"
REFUSED_ITEMS = "refused-items.ndjson"

Ending = Literal["complete", "partial", "stopped", "failed"]


@dataclass(frozen=True, slots=True)
class Summary:
    """How a job ended.

    Attributes:
        status: complete: every row is done. partial: every row has an outcome, and some failed or
            could not be read. stopped: a signal ended it. failed: there was no point in going on.
        rows: Profiles in the output.
        signal: The number of the signal that stopped it.
        error: Why it failed.
    """

    status: Ending
    rows: int
    outcomes: dict[str, int]
    bad_rows: int
    refused_items: int
    seconds: float
    out: str
    signal: int | None = None
    error: str | None = None

    def to_json(self) -> str:
        """Returns the summary as one line of JSON."""
        return json.dumps(asdict(self))


class Job:
    """A backfill under way in its folder, which nobody else uses meanwhile.

    Attributes:
        grouping: The rows.
        started_ms: When the job began, in Unix milliseconds; starting it again does not change
            that until it is complete.
    """

    def __init__(self, options: Options, grouping: Grouping, started_ms: int, began: float) -> None:
        self.options = options
        self.grouping = grouping
        self.started_ms = started_ms
        self._began = began

    def announce(self, version: Version) -> None:
        """Records that the output is being changed, and the version that it will be made with."""
        earlier = OutputManifest.read(self.options.out)
        self._manifest(version, earlier.parts if earlier else (), {}, complete=False, done=False)

    def conclude(
        self,
        version: Version,
        parts: list[PartFile],
        counts: OutcomeCounts,
        *,
        refused: int,
        stopped: int | None,
        failure: BackfillError | None,
    ) -> Summary:
        """Writes failures and manifest, and deletes the working files.

        Args:
            version: What all profiles are made with.
            parts: The files of all partitions, or of those that were finished.
            counts: The outcomes of the rows.
            refused: Items that the catalogue did not take.
            stopped: The signal that ended the job before its end.
            failure: The error that did.
        """
        out = self.options.out
        self._gather_failures()
        bad = self._write_bad_rows()
        status: Ending = "partial" if counts.failed + bad + refused else "complete"
        if stopped is not None:
            status = "stopped"
        if failure is not None:
            status = "failed"
        at_the_end = status in {"complete", "partial"}
        if not at_the_end:
            earlier = OutputManifest.read(out)
            new = {part.file for part in parts}
            parts = [*parts, *(p for p in (earlier.parts if earlier else ()) if p.file not in new)]
        counted = {**counts.to_dict(), "bad_rows": bad}
        manifest = self._manifest(version, tuple(parts), counted, complete=at_the_end, done=True)
        if at_the_end:
            shutil.rmtree(out / WORK)
        return Summary(
            status=status,
            rows=manifest.rows,
            outcomes=counts.to_dict(),
            bad_rows=bad,
            refused_items=refused,
            seconds=round(time.monotonic() - self._began, 3),
            out=str(out),
            signal=stopped,
            error=None if failure is None else str(failure),
        )

    def _manifest(
        self,
        version: Version,
        parts: tuple[PartFile, ...],
        outcomes: dict[str, int],
        *,
        complete: bool,
        done: bool,
    ) -> OutputManifest:
        manifest = OutputManifest(
            kind=self.options.inputs.kind,
            dtype=self.options.dtype,
            partitions=self.grouping.partitions,
            version={"digest": version.digest, **version.parts},
            complete=complete,
            parts=tuple(sorted(parts, key=lambda part: part.file)),
            outcomes=outcomes,
            started_at=_rfc3339(self.started_ms / 1000),
            finished_at=_rfc3339(time.time()) if done else None,
        )
        manifest.write(self.options.out)
        return manifest

    def _gather_failures(self) -> None:
        """Puts the failures of all finished partitions into one file."""
        out = self.options.out
        with room_for(out / FAILURES), atomic_file(out / FAILURES) as gathered:
            for number in range(self.grouping.partitions):
                path = failures_path(out, number)
                if path.exists():
                    with path.open("rb") as one:
                        shutil.copyfileobj(one, gathered)

    def _write_bad_rows(self) -> int:
        count = 0
        with (
            room_for(self.options.out / BAD_ROWS),
            atomic_file(self.options.out / BAD_ROWS) as file,
        ):
            for row in self.grouping.bad_rows():
                file.write(json.dumps(asdict(row)).encode() + b"\n")
                count += 1
        return count


@contextlib.contextmanager
def begun(options: Options, *, progress: Callable[[int], None] | None = None) -> Iterator[Job]:
    """Prepares the folder and the input, and keeps other jobs out of the folder meanwhile.

    Args:
        options: How.
        progress: Called with the number of rows of the input that were read.

    Raises:
        BackfillError: The folder holds something else, or another job is at work in it; or the
            input cannot be read.
    """
    began = time.monotonic()
    out = options.out
    if out.exists() and not out.is_dir():
        raise BackfillError(f"{out} is not a folder; choose another for the output")
    foreign = out.is_dir() and any(out.iterdir()) and not (out / WORK).is_dir()
    if foreign and not (out / NAME).is_file():
        raise BackfillError(f"{out} holds something other than a backfill; choose another folder")
    earlier = OutputManifest.read(out)
    if earlier is not None:
        _check_same(earlier, options)
    work = out / WORK
    work.mkdir(parents=True, exist_ok=True)
    with only_one(work):
        grouping = Grouping.make(
            work / "grouped",
            options.inputs,
            history=options.history,
            partitions=earlier.partitions if earlier else options.partitions,
            progress=progress,
        )
        yield Job(options, grouping, _started(work, options, grouping), began)


def write_refused(out: Path, refused: list[dict[str, Any]]) -> None:
    """Writes the items that the catalogue did not take, each with why."""
    with room_for(out / REFUSED_ITEMS), atomic_file(out / REFUSED_ITEMS) as file:
        for row in refused:
            file.write(json.dumps(row).encode() + b"\n")


def _check_same(earlier: OutputManifest, options: Options) -> None:
    for name, had, wanted in (
        ("kind", earlier.kind, options.inputs.kind),
        ("dtype", earlier.dtype, options.dtype),
        ("partitions", earlier.partitions, options.partitions or earlier.partitions),
    ):
        if had != wanted:
            raise BackfillError(
                f"{options.out} holds a backfill with {name} {had}, and this one has {wanted}; "
                "choose another folder"
            )


@contextlib.contextmanager
def only_one(work: Path) -> Iterator[None]:
    """Keeps other jobs out of a folder while it is entered.

    Args:
        work: The folder's `WORK`.

    Raises:
        BackfillError: Another job is at work.
    """
    with (work / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise BackfillError(
                f"another backfill is at work in {work.parent}; wait for it, or choose another "
                "folder"
            ) from error
        yield


def _started(work: Path, options: Options, grouping: Grouping) -> int:
    """Returns when the job began: the first time that it was started with this input."""
    path = work / "job.json"
    this = {"input": grouping.fingerprint, "refresh": options.refresh}
    with contextlib.suppress(FileNotFoundError, ValueError, KeyError, TypeError):
        document = json.loads(path.read_bytes())
        if document["job"] == this:
            return int(document["started_ms"])
    started_ms = time.time_ns() // 1_000_000
    with room_for(path), atomic_file(path) as file:
        file.write(json.dumps({"job": this, "started_ms": started_ms}).encode())
    return started_ms


def _rfc3339(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
