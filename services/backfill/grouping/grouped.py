"""The input on disk in partitions, so that it is grouped by id in little memory.

The folder is complete or not there: it is built beside its place and put there at the end. So a
job that was killed finds either all of its input again, or none and builds it anew.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from services.backfill.errors import BackfillError
from services.backfill.grouping.build import BAD, TEXTS, build, default_partitions
from services.backfill.grouping.histories import history_rows
from services.backfill.grouping.partitions import read_partition
from services.backfill.grouping.rows import interaction_rows, item_rows
from services.backfill.grouping.texts import Texts
from services.backfill.inputs.readers import fingerprint
from services.common.tabular.blocks import BadRow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from reclm_client import Kind
    from services.backfill.inputs.readers import Inputs
    from services.backfill.rows import ProfileRow

MARKER = "grouped.json"
_FORM = 2
"""Changes when earlier grouped inputs cannot be read any more, or would have other digests."""


@dataclass(frozen=True, slots=True)
class Grouping:
    """The input on disk, every id in exactly one of `partitions` files.

    Attributes:
        folder: Where it is.
        partitions: How many files there may be.
        fingerprint: Changes with the input's files and with what is made of them.
        ids: How many rows there are in all partitions.
        interactions: Rows of the input that were read: interactions, histories or items.
        bad: How many of `bad_rows` there are.
    """

    folder: Path
    kind: Kind
    source: str
    history: int
    fingerprint: str
    partitions: int
    ids: int
    interactions: int
    bad: int
    _texts: Texts = field(repr=False, compare=False)

    @classmethod
    def make(
        cls,
        folder: Path,
        inputs: Inputs,
        *,
        history: int,
        partitions: int | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> Grouping:
        """Finds the grouped input of an earlier run, or builds it.

        Args:
            folder: Where; the grouped form of another input is replaced.
            inputs: What to read.
            history: How many entries of a history to keep, the newest.
            partitions: How many files; by default one for a hundred thousand rows.
            progress: Called from time to time with the number of rows read so far.

        Raises:
            BackfillError: The input cannot be read, or something else is in the folder.
        """
        if history < 1:
            raise BackfillError(f"history is {history}; a history has at least one entry")
        if partitions is not None and not 1 <= partitions <= 4096:
            raise BackfillError(f"partitions is {partitions}; choose between 1 and 4,096")
        options = {
            "form": _FORM,
            "kind": inputs.kind,
            "given": inputs.given,
            "min_weight": inputs.min_weight,
            "history": history,
            "partitions": partitions,
        }
        wanted = fingerprint(inputs.paths, options)
        beside, old = (folder.with_name(f"{folder.name}.{end}") for end in ("partial", "old"))
        for leftover in (beside, old):
            shutil.rmtree(leftover, ignore_errors=True)
        found = _read_marker(folder)
        if found is not None and found["fingerprint"] == wanted:
            return cls._of(folder, found)
        if found is not None:
            folder.rename(old)
            shutil.rmtree(old)
        elif folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
            raise BackfillError(
                f"{folder} holds something other than a grouped input; choose another"
            )
        beside.mkdir(parents=True)
        count = default_partitions(inputs) if partitions is None else partitions
        try:
            report = build(beside, inputs, partitions=count, progress=progress or (lambda _: None))
        except BaseException as error:
            shutil.rmtree(beside, ignore_errors=True)
            if isinstance(error, OSError):
                raise BackfillError(f"{folder} cannot be written: {error}") from error
            raise
        marker = {
            "fingerprint": wanted,
            "kind": inputs.kind,
            "source": report.source,
            "history": history,
            "partitions": count,
            "ids": report.ids,
            "interactions": report.read,
            "bad": report.bad,
            "files": _sizes(beside),
        }
        (beside / MARKER).write_text(json.dumps(marker, indent=2) + "\n", encoding="utf-8")
        if folder.exists():
            folder.rmdir()
        beside.rename(folder)
        return cls._of(folder, marker)

    def rows(self, partition: int) -> Iterator[ProfileRow]:
        """Yields the rows of a partition, those with like histories next to each other.

        The order is the same each time.
        """
        if not 0 <= partition < self.partitions:
            raise ValueError(f"partition {partition} is none of the {self.partitions}, from 0")
        if self.source == "histories":
            return history_rows(
                lambda: read_partition(self.folder, partition),
                kind=self.kind,
                history=self.history,
                texts=self._texts,
            )
        batches = read_partition(self.folder, partition)
        if self.source == "items":
            return item_rows(batches)
        return interaction_rows(batches, history=self.history, texts=self._texts)

    def bad_rows(self) -> Iterator[BadRow]:
        """Yields what is wrong with the input, row by row; of the items' files too."""
        with (self.folder / BAD).open(encoding="utf-8") as file:
            for line in file:
                yield BadRow(**json.loads(line))

    @classmethod
    def _of(cls, folder: Path, marker: dict[str, Any]) -> Grouping:
        names = (
            "kind",
            "source",
            "history",
            "fingerprint",
            "partitions",
            "ids",
            "interactions",
            "bad",
        )
        texts = folder / TEXTS
        return cls(
            folder=folder,
            **{name: marker[name] for name in names},
            _texts=Texts(texts if TEXTS in marker["files"] else None),
        )


def _read_marker(folder: Path) -> dict[str, Any] | None:
    """Returns the marker of a grouped input; None if there is none.

    The fingerprint is empty where files of it are missing or cut.
    """
    try:
        marker = json.loads((folder / MARKER).read_bytes())
    except (OSError, ValueError):
        return None
    if not isinstance(marker, dict) or not {"fingerprint", "files"} <= set(marker):
        return None
    sizes = _sizes(folder)
    sizes.pop(MARKER)
    return marker if marker["files"] == sizes else {**marker, "fingerprint": ""}


def _sizes(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in sorted(folder.iterdir())}
