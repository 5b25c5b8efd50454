"""A partition's output: whatever happens in between, each id once, and nothing half-written."""

from __future__ import annotations

import errno
import json
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from reclm_client import Item
from services.backfill.errors import BackfillError
from services.backfill.makers import RowFailed
from services.backfill.parts import WORK, Part, failures_path
from tests.services.backfill.made import VERSION, made, row

if TYPE_CHECKING:
    from pathlib import Path


def fill(part: Part, *ids: str, version: str = VERSION) -> None:
    for id_ in ids:
        part.add(row(id_), made(id_, version=version))
    part.write(part.take())


def read(out: Path, number: int = 0) -> pa.Table:
    return pq.read_table(out / f"part-{number:05}.parquet")


def test_rows_come_out_in_order_of_id_with_all_their_columns(tmp_path: Path) -> None:
    part = Part(tmp_path, 3, dtype="float16")
    fill(part, "c", "a")
    fill(part, "b")
    file = part.finish()

    table = read(tmp_path, 3)
    assert table["id"].to_pylist() == ["a", "b", "c"]
    assert table.schema.field("vector").type == pa.list_(pa.float16(), 4)
    first = table.to_pylist()[0]
    expected = made("a")
    assert first["text"] == expected.text
    assert np.array_equal(np.array(first["vector"], np.float16), expected.vector)
    assert (first["status"], first["version"]) == ("generated", VERSION)
    assert first["input_hash"] == expected.input_hash
    assert first["created_at"].timestamp() * 1000 == expected.created_ms
    assert first["request"] == row("a").digest
    assert file is not None
    assert (file.file, file.rows) == ("part-00003.parquet", 3)
    assert not (tmp_path / WORK / "journal" / "00003").exists()


def test_vectors_can_be_written_in_single_precision(tmp_path: Path) -> None:
    part = Part(tmp_path, 0, dtype="float32")
    fill(part, "a")
    part.finish()
    assert read(tmp_path).schema.field("vector").type == pa.list_(pa.float32(), 4)


def test_what_was_journalled_is_there_after_a_crash_and_what_was_not_is_not(tmp_path: Path) -> None:
    crashed = Part(tmp_path, 0, dtype="float16")
    fill(crashed, "a", "b")
    crashed.add(row("c"), made("c"))

    part = Part(tmp_path, 0, dtype="float16")
    assert part.request_of("a") == (row("a").digest, VERSION)
    assert part.request_of("c") is None
    part.keep("a")
    part.keep("b")
    fill(part, "c")
    part.finish()
    assert read(tmp_path)["id"].to_pylist() == ["a", "b", "c"]


def test_a_file_that_a_killed_process_was_writing_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = Part(tmp_path, 0, dtype="float16")
    fill(part, "a")
    with monkeypatch.context() as patch:
        # Killed, nothing is cleared away.
        patch.setattr("pathlib.Path.replace", lambda *_: None)
        patch.setattr("pathlib.Path.unlink", lambda *_, **__: None)
        fill(part, "b")
    journal = tmp_path / WORK / "journal" / "00000"
    (unfinished,) = (path for path in journal.iterdir() if path.name.startswith("."))
    unfinished.write_bytes(unfinished.read_bytes()[:100])
    again = Part(tmp_path, 0, dtype="float16")
    assert again.request_of("a") is not None
    assert again.request_of("b") is None


def test_a_crash_between_the_file_and_the_end_of_its_journal_doubles_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = Part(tmp_path, 0, dtype="float16")
    fill(part, "a", "b")
    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            part.finish()

    again = Part(tmp_path, 0, dtype="float16")
    for id_ in ("a", "b"):
        again.keep(id_)
    again.finish()
    assert read(tmp_path)["id"].to_pylist() == ["a", "b"]


def test_of_what_was_made_twice_the_later_one_counts(tmp_path: Path) -> None:
    first = Part(tmp_path, 0, dtype="float16")
    fill(first, "a", "b", version="old")
    first.finish()
    part = Part(tmp_path, 0, dtype="float16")
    part.keep("b")
    fill(part, "a")
    part.finish()
    assert read(tmp_path).select(["id", "version"]).to_pylist() == [
        {"id": "a", "version": VERSION},
        {"id": "b", "version": "old"},
    ]


def test_who_is_not_in_the_input_any_more_goes(tmp_path: Path) -> None:
    fill(first := Part(tmp_path, 0, dtype="float16"), "a", "b")
    first.finish()
    part = Part(tmp_path, 0, dtype="float16")
    part.keep("b")
    assert part.finish() is not None
    assert read(tmp_path)["id"].to_pylist() == ["b"]
    assert Part(tmp_path, 0, dtype="float16").finish() is None
    assert not (tmp_path / "part-00000.parquet").exists()


def test_a_file_in_which_nothing_changes_is_not_written_again(tmp_path: Path) -> None:
    fill(first := Part(tmp_path, 0, dtype="float16"), "a", "b")
    described = first.finish()
    before = (tmp_path / "part-00000.parquet").stat().st_mtime_ns
    part = Part(tmp_path, 0, dtype="float16")
    part.keep("a")
    part.keep("b")
    assert part.finish() == described
    assert (tmp_path / "part-00000.parquet").stat().st_mtime_ns == before


def test_failures_are_rows_that_can_be_fed_back(tmp_path: Path) -> None:
    part = Part(tmp_path, 0, dtype="float16")
    inline = row("z\ud800", ("a", Item("", "Heat", "Crime")))  # type: ignore[arg-type]
    part.fail(inline, RowFailed("invalid-input", "body.id: no"))
    part.finish()
    (line,) = failures_path(tmp_path, 0).read_bytes().splitlines()
    assert json.loads(line) == {
        "id": "z\ud800",
        "history": ["a", {"title": "Heat", "category": "Crime"}],
        "error": {"code": "invalid-input", "detail": "body.id: no"},
    }
    Part(tmp_path, 0, dtype="float16").finish()
    assert failures_path(tmp_path, 0).read_bytes() == b""


def test_a_full_disk_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(first := Part(tmp_path, 0, dtype="float16"), "a")
    first.finish()
    part = Part(tmp_path, 0, dtype="float16")
    part.keep("a")
    part.add(row("b"), made("b"))

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pq.ParquetWriter, "write_table", full)
    with pytest.raises(BackfillError, match="make room and start the same command again"):
        part.finish()
    assert read(tmp_path)["id"].to_pylist() == ["a"]
    assert not [path for path in tmp_path.rglob("*") if ".new" in path.name]


def test_vectors_of_two_lengths_are_refused(tmp_path: Path) -> None:
    part = Part(tmp_path, 0, dtype="float16")
    part.add(row("a"), made("a"))
    part.add(row("b"), made("b", size=5))
    with pytest.raises(BackfillError, match="4 and 5 numbers"):
        part.write(part.take())


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "part-00000.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(BackfillError, match=r"part-00000\.parquet cannot be read"):
        Part(tmp_path, 0, dtype="float16")
