# ruff: noqa: S608 - the queries hold the paths of generated files
"""One way to read interactions, timed in a process of its own: `python -m` with a way, a job, a file.

Each way does two jobs:

- `backfill`: read, check every value, group by user, keep the newest 50 items of each, and give one
  Python tuple a user.
- `import`: read, check every value, and hold one Arrow table in the dataset's columns.

Prints the seconds, the peak memory in bytes, the users (or rows) and a checksum that all ways share.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from services.commands.backfill import keep_memory_flat
from tests.benchmarks.peak import peak_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

NEWEST = 50
MEMORY_LIMIT = os.environ.get("RECLM_BENCH_DUCKDB_MEMORY", "1GB")
"""How much memory DuckDB may use for a backfill before it writes to disk."""

_CONTROLS = r"[\x00-\x1f\x7f]"
Grouped = "Iterable[tuple[str, tuple[str, ...]]]"


def ours_backfill(path: Path, scratch: Path) -> Iterator[tuple[str, tuple[Any, ...]]]:
    from services.backfill.grouping.grouped import Grouping
    from services.backfill.inputs.readers import Inputs

    inputs = Inputs(kind="user", interactions=path)
    grouping = Grouping.make(scratch / "grouped", inputs, history=NEWEST)
    _refuse(grouping.bad)
    for partition in range(grouping.partitions):
        for row in grouping.rows(partition):
            yield row.id, row.history


def ours_import(path: Path, scratch: Path) -> Any:
    from recommenders.data.dataset import DatasetInfo
    from recommenders.data.readers.blocks import InteractionColumns
    from recommenders.data.readers.generic import read_generic

    info = DatasetInfo(name="ingest", source="generated", licence="none")
    columns = InteractionColumns(time="timestamp", weight="weight")
    return read_generic(info, path, interaction_columns=columns).interactions


def duckdb_backfill(path: Path, scratch: Path) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Groups with a window function, which DuckDB sorts on disk, into Parquet that a job could resume."""
    import pyarrow.parquet as pq

    base = _duckdb(scratch)
    _duckdb_check(base, path)
    grouped = scratch / "grouped.parquet"
    # The row number stands for the input's order, which decides between equal times.
    base.execute(f"""
        COPY (
            SELECT user_id, list(item_id ORDER BY timestamp, place) AS history FROM (
                SELECT user_id, item_id, timestamp, place, row_number() OVER (
                    PARTITION BY user_id ORDER BY timestamp DESC, place DESC) AS age
                FROM (SELECT *, row_number() OVER () AS place FROM checked)
            ) WHERE age <= {NEWEST} GROUP BY user_id
        ) TO '{grouped}' (FORMAT parquet, COMPRESSION zstd)""")
    with pq.ParquetFile(grouped) as file:
        for batch in file.iter_batches(4096):
            users, histories = (column.to_pylist() for column in batch.columns)
            yield from zip(users, map(tuple, histories), strict=True)


def duckdb_import(path: Path, scratch: Path) -> Any:
    base = _duckdb(scratch)
    base.execute("SET memory_limit = '12GB'")
    _duckdb_check(base, path)
    found = base.execute("SELECT user_id, item_id, timestamp, weight::FLOAT AS weight FROM checked")
    return found.to_arrow_table()


def arrow_backfill(path: Path, scratch: Path) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Sorts in memory: pyarrow has no sort on disk, and its grouping does not keep an order."""
    import numpy as np
    import pyarrow.compute as pc

    table = _arrow_table(path, ["user_id", "item_id", "timestamp"])
    users = table["user_id"].dictionary_encode().combine_chunks()
    items = table["item_id"].dictionary_encode().combine_chunks()
    codes = np.asarray(users.indices)
    order = np.lexsort((np.asarray(table["timestamp"]), codes))
    del table
    entries = np.asarray(items.indices)[order]
    names = np.array(items.dictionary.to_pylist(), dtype=object)
    ends = np.cumsum(np.bincount(codes))
    start = 0
    for user, end in zip(
        pc.cast(users.dictionary, "string").to_pylist(), ends.tolist(), strict=True
    ):
        yield user, tuple(names[entries[max(start, end - NEWEST) : end]].tolist())
        start = end


def arrow_import(path: Path, scratch: Path) -> Any:
    import pyarrow as pa

    table = _arrow_table(path, ["user_id", "item_id", "timestamp", "weight"])
    return table.set_column(3, "weight", table["weight"].cast(pa.float32()))


WAYS: dict[str, dict[str, Callable[[Path, Path], Any]]] = {
    "ours": {"backfill": ours_backfill, "import": ours_import},
    "duckdb": {"backfill": duckdb_backfill, "import": duckdb_import},
    "arrow": {"backfill": arrow_backfill, "import": arrow_import},
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("way", choices=sorted(WAYS))
    parser.add_argument("job", choices=["backfill", "import"])
    parser.add_argument("path", type=Path)
    args = parser.parse_args()
    if args.job == "backfill":
        keep_memory_flat()
    with tempfile.TemporaryDirectory(dir=args.path.parent) as scratch:
        started = time.perf_counter()
        found = WAYS[args.way][args.job](args.path, Path(scratch))
        rows, checksum = _counted(found) if args.job == "backfill" else (found.num_rows, 0)
        seconds = time.perf_counter() - started
    figures = {"seconds": seconds, "peak_bytes": peak_bytes(), "rows": rows, "checksum": checksum}
    print(json.dumps(figures))
    return 0


def _counted(rows: Iterable[tuple[str, tuple[str, ...]]]) -> tuple[int, int]:
    """Returns the number of users, and a checksum over all histories that ignores their order."""
    count = checksum = 0
    for user, history in rows:
        count += 1
        checksum ^= zlib.crc32("\n".join((user, *history)).encode())
    return count, checksum


def _duckdb(scratch: Path) -> Any:
    import duckdb

    base = duckdb.connect(str(scratch / "base.duckdb"))
    base.execute(f"SET memory_limit = '{MEMORY_LIMIT}'")
    base.execute(f"SET temp_directory = '{scratch / 'temporary'}'")
    return base


def _duckdb_check(base: Any, path: Path) -> None:
    """Makes a view of the rows with types; raises if a row breaks a rule of the ids or times.

    Rows of CSV that have another number of values go to DuckDB's own table of rejects.
    """
    if path.suffix == ".csv":
        # Left to itself, DuckDB guesses the quote as well, and takes a stray one as text.
        names = "{'user_id': 'VARCHAR', 'item_id': 'VARCHAR', 'timestamp': 'VARCHAR', 'weight': 'VARCHAR'}"
        source = (
            f"read_csv('{path}', header=true, auto_detect=false, store_rejects=true, delim=',', "
            f"quote='\"', escape='\"', columns={names})"
        )
    else:
        source = f"read_parquet('{path}')"
    base.execute(f"""
        CREATE VIEW checked AS SELECT user_id, item_id, TRY_CAST(timestamp AS BIGINT) AS timestamp,
            TRY_CAST(weight AS DOUBLE) AS weight FROM {source}""")

    def wrong(name: str) -> str:
        return (
            f"{name} IS NULL OR length({name}) NOT BETWEEN 1 AND 256 "
            f"OR regexp_matches({name}, '{_CONTROLS}')"
        )

    (bad,) = base.execute(f"""
        SELECT count(*) FROM checked WHERE {wrong("user_id")} OR {wrong("item_id")}
        OR timestamp IS NULL OR weight IS NULL OR NOT isfinite(weight)""").fetchone()
    if path.suffix == ".csv":
        # The table is made with the first reject.
        made = "SELECT count(*) FROM duckdb_tables() WHERE table_name = 'reject_errors'"
        bad += base.execute(made).fetchone()[0]
    _refuse(bad)


def _arrow_table(path: Path, columns: list[str]) -> Any:
    import pyarrow.compute as pc
    import pyarrow.dataset as ds

    kind = "csv" if path.suffix == ".csv" else "parquet"
    table = ds.dataset(path, format=kind).to_table(columns=columns)
    for name in ("user_id", "item_id"):
        distinct = table[name].unique()
        lengths = pc.utf8_length(distinct)
        wrong = pc.or_(pc.less(lengths, 1), pc.greater(lengths, 256))
        wrong = pc.or_(wrong, pc.match_substring_regex(distinct, _CONTROLS))
        _refuse(pc.sum(wrong).as_py() + table[name].null_count)
    _refuse(table["timestamp"].null_count)
    return table


def _refuse(bad: int) -> None:
    if bad:
        raise RuntimeError(f"{bad} bad rows in a file that has none")


if __name__ == "__main__":
    sys.exit(main())
