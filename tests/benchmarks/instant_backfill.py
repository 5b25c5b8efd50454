"""Runs a backfill whose profiles cost nothing, and tells its peak memory: `python -m` with options.

All of the job is real (reading, grouping, concurrency limit, journal, files) except the maker of the profiles.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np

from services.backfill.makers import Made, RowFailed, Version
from services.commands.backfill import keep_memory_flat
from tests.benchmarks.peak import peak_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reclm_client import Item
    from services.backfill.rows import ProfileRow

DIMENSION = 384


class InstantMaker:
    """Gives every row a profile at once.

    Args:
        version: Digest of the version that all of them have.
    """

    def __init__(self, version: str) -> None:
        self._version = version
        self._random = np.random.default_rng(0)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Holds nothing."""

    @property
    def online_wait_s(self) -> float:
        return 0.0

    async def version(self) -> Version:
        return Version(self._version, {})

    async def make(self, row: ProfileRow, *, max_age_s: float | None) -> Made:
        vector = self._random.standard_normal(DIMENSION, np.float32)
        return Made(
            id=row.id,
            text=f"User identity: reader {row.id}, b, c; User interests: d, e, f.",
            vector=(vector / np.linalg.norm(vector)).astype(np.float16),
            status="generated",
            version=self._version,
            input_hash=row.digest.hex(),
            created_ms=time.time_ns() // 1_000_000,
        )

    async def put_items(self, items: Sequence[Item]) -> list[tuple[Item, RowFailed]]:
        return []

    async def erased(self) -> frozenset[str] | None:
        return frozenset()

    async def tokens(self) -> tuple[int, int]:
        return 0, 0


def main() -> int:
    keep_memory_flat()
    from services.backfill import run as running
    from services.backfill.inputs.readers import Inputs
    from services.backfill.options import Options

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--interactions", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--version", required=True)
    args = parser.parse_args()
    options = Options(
        inputs=Inputs(kind="user", interactions=args.interactions), out=args.out, url=None
    )
    running.maker_for = lambda _: InstantMaker(args.version)
    summary = running.run(options)
    print(
        json.dumps({"peak_bytes": peak_bytes(), "rows": summary.rows, "seconds": summary.seconds})
    )
    return 0 if summary.status == "complete" else 1


if __name__ == "__main__":
    sys.exit(main())
