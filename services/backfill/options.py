"""How a backfill is to be run, as the command line says it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pathlib import Path

    from services.backfill.inputs.readers import Inputs
    from services.backfill.parts import Dtype


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """What decides about every row.

    Attributes:
        inputs: What is read.
        out: The output's folder.
        url: Of the service; None works with the service's own parts in this process.
        history: Newest entries of a history that are sent.
        dtype: Of vectors in the output.
        refresh: Take no profile from the cache that is older than the job.
        unknown_items: What to do about a history with items that the catalogue lacks: `fail` the
            row, or `drop` the items and go on with the rest.
        concurrency: Most requests under way; how many there are, the job finds out.
        patience_s: How long nothing may succeed before the job gives up.
        failures_in_a_row: How many rows may fail one after another before it gives up.
        with_erased: Make profiles of users whom the service has erased too.
        partitions: Files of the output; None chooses by the size of the input.
    """

    inputs: Inputs
    out: Path
    url: str | None
    history: int = 50
    dtype: Dtype = "float16"
    refresh: bool = False
    unknown_items: Literal["fail", "drop"] = "fail"
    concurrency: int = 256
    patience_s: float = 300.0
    failures_in_a_row: int = 100
    with_erased: bool = False
    partitions: int | None = None
