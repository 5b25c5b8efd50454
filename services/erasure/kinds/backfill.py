"""Outputs of `reclm-serve backfill`, complete or interrupted."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from services.backfill.errors import BackfillError
from services.backfill.job import BAD_ROWS, FAILURES, REFUSED_ITEMS, only_one
from services.backfill.manifest import NAME, OutputManifest
from services.backfill.parts import WORK, describe
from services.erasure.errors import ErasureError
from services.erasure.kinds.manifests import check_hashes, document_of, no_other_ids
from services.erasure.plan import Count, Plan
from services.erasure.rows import naming, without_lines, without_rows

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from services.erasure.plan import Write
    from services.erasure.rows import Rewritten
    from services.erasure.targets import Targets

_GROUPED = "grouped"

_INPUT = (
    "the input of the job, which the next run reads: erase there too, or the profile is made again"
)


class BackfillFolder:
    """Parts, failures and bad rows; of an interrupted job also its journal and its grouped input."""

    name = "backfill"
    requested_ids = staticmethod(no_other_ids)

    def recognises(self, folder: Path) -> bool:
        """Returns whether the manifest is that of a backfill, or one has begun here."""
        document = document_of(folder / NAME)
        if document is None:
            return (folder / WORK / "job.json").is_file() or (folder / WORK / _GROUPED).is_dir()
        return {"partitions", "parts", "outcomes"} <= set(document)

    @contextlib.contextmanager
    def exclusive(self, folder: Path) -> Iterator[None]:
        """Holds the lock that a job in this folder takes."""
        had_work = (folder / WORK).exists()
        (folder / WORK).mkdir(exist_ok=True)
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(only_one(folder / WORK))
            except BackfillError as error:
                raise ErasureError(
                    f"a backfill is at work in {folder}; stop it, or run the command again after it"
                ) from error
            try:
                yield
            finally:
                if not had_work:
                    (folder / WORK / "lock").unlink(missing_ok=True)
                    (folder / WORK).rmdir()

    def plan(self, folder: Path, targets: Targets) -> Plan:
        """Drops profiles, failures and bad rows; an interrupted job groups its input once more."""
        manifest = _manifest(folder)
        kind = None if manifest is None else manifest.kind
        parts = _each(folder, ("part-*.parquet", f"{WORK}/journal/*/*.parquet"))
        tables = {
            name: without_rows(folder / name, {"id": targets.of_kind(kind)}) for name in parts
        }
        lines = {name: _lines(folder / name, name, kind, targets) for name in _line_files(folder)}
        files = tables | lines
        drops = {name for name, file in tables.items() if file.write and not file.after}
        drops |= _leftovers(folder)
        writes = {
            name: file.write
            for name, file in files.items()
            if file.write is not None and name not in drops
        }
        if manifest is not None and manifest.complete and (writes or drops):
            check_hashes(folder, {part.file: part.sha256 for part in manifest.parts})
        return Plan(
            counts=_counts(tables, lines),
            writes=writes,
            drops=frozenset(drops),
            finish=None if manifest is None else _renewing(manifest, writes, drops),
            remains=(_INPUT,),
        )


def _manifest(folder: Path) -> OutputManifest | None:
    try:
        return OutputManifest.read(folder)
    except BackfillError as error:
        raise ErasureError(str(error)) from error


def _each(folder: Path, patterns: tuple[str, ...]) -> list[str]:
    """Returns files by relative path, without those that a killed process left unfinished."""
    found = (path for pattern in patterns for path in folder.glob(pattern))
    return sorted(
        path.relative_to(folder).as_posix() for path in found if not path.name.startswith(".")
    )


def _line_files(folder: Path) -> list[str]:
    names = (FAILURES, BAD_ROWS, REFUSED_ITEMS, f"{WORK}/failures/*.ndjson")
    return _each(folder, names)


def _lines(path: Path, name: str, kind: str | None, targets: Targets) -> Rewritten:
    if name == BAD_ROWS:
        named = naming(targets.users | targets.items)
        return without_lines(
            path, lambda row: None if any(named(value) for value in row.values()) else row
        )
    if name == REFUSED_ITEMS:
        return without_lines(path, lambda row: None if row.get("item_id") in targets.items else row)
    gone = targets.of_kind(kind)
    return without_lines(path, lambda row: _failure(row, gone, targets))


def _failure(row: dict[str, Any], gone: frozenset[str], targets: Targets) -> dict[str, Any] | None:
    """Returns a row that failed as it stays: without erased items in its history."""
    if row.get("id") in gone:
        return None
    history = [entry for entry in row.get("history", ()) if _item_id(entry) not in targets.items]
    if len(history) == len(row.get("history", ())):
        return row
    # The detail of an error names items.
    return {**row, "history": history, "error": {"code": row["error"]["code"], "detail": ""}}


def _item_id(entry: object) -> object:
    return entry.get("id") if isinstance(entry, dict) else entry


def _leftovers(folder: Path) -> set[str]:
    """Returns the grouped input, and what killed processes left unfinished."""
    found = [path for path in folder.rglob(".*") if path.is_file()]
    found += [folder / WORK / name for name in (_GROUPED, f"{_GROUPED}.partial", f"{_GROUPED}.old")]
    return {path.relative_to(folder).as_posix() for path in found if path.exists()}


def _counts(tables: dict[str, Rewritten], lines: dict[str, Rewritten]) -> tuple[Count, ...]:
    def total(what: str, files: list[Rewritten]) -> Count:
        return Count(what, sum(file.before for file in files), sum(file.after for file in files))

    done = [file for name, file in tables.items() if not name.startswith(WORK)]
    journal = [file for name, file in tables.items() if name.startswith(WORK)]
    counts = [total("profiles", done)]
    if journal:
        counts.append(total("profiles in the journal", journal))
    return (*counts, total("failures and bad rows", list(lines.values())))


def _renewing(manifest: OutputManifest, writes: dict[str, Write], drops: set[str]) -> Write:
    """Returns what writes the manifest of a new folder."""

    def finish(new: Path) -> None:
        described = [
            describe(new / part.file) if part.file in writes else part
            for part in manifest.parts
            if part.file not in drops
        ]
        parts = tuple(part for part in described if part is not None)
        try:
            replace(manifest, parts=parts).write(new)
        except BackfillError as error:
            raise ErasureError(str(error)) from error

    return finish
