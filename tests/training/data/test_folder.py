"""A builder's folder: written atomically, with a fingerprint of its content."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from training.data.errors import InstructionDataError
from training.data.folder import read_lines, read_manifest, write_folder
from training.data.teacher.answers import read_answers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ROWS = [{"id": "ä"}, {"id": "b"}]


def write(folder: Path, *, rows: Any = ROWS, about: Any = None, replace: bool = False) -> Any:
    return write_folder(
        folder, {"x.jsonl": rows}, builder="test", about=about or {}, replace=replace
    )


def test_the_manifest_counts_and_names_what_is_there(tmp_path: Path) -> None:
    manifest = write(tmp_path / "deep" / "out", about={"seed": 1})
    assert read_manifest(tmp_path / "deep" / "out") == manifest
    assert list(read_lines(tmp_path / "deep" / "out" / "x.jsonl")) == ROWS
    assert manifest["files"]["x.jsonl"]["rows"] == 2
    assert manifest["files"]["x.jsonl"]["bytes"] == len('{"id": "ä"}\n{"id": "b"}\n'.encode())
    again = write(tmp_path / "again", about={"seed": 1})["fingerprint"]
    assert again == manifest["fingerprint"]
    assert write(tmp_path / "seed", about={"seed": 2})["fingerprint"] != again
    assert write(tmp_path / "rows", rows=ROWS[:1], about={"seed": 1})["fingerprint"] != again


def test_a_build_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    out = tmp_path / "out"
    had = write(out)

    def broken() -> Iterator[dict[str, str]]:
        yield ROWS[0]
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        write(out, rows=broken(), replace=True)
    assert read_manifest(out) == had
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_nothing_is_replaced_unasked(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write(out)
    with pytest.raises(InstructionDataError, match="--force"):
        write(out)
    assert write(out, rows=[], replace=True)["files"]["x.jsonl"]["rows"] == 0
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    with pytest.raises(InstructionDataError, match="not written by a builder"):
        write(tmp_path / "mine", replace=True)


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "is missing"), ("{", "not JSON"), ('{"format": 9}', "not a manifest of format 1")],
)
def test_a_manifest_that_cannot_be_read_is_told(
    tmp_path: Path, content: str | None, message: str
) -> None:
    if content is not None:
        (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(InstructionDataError, match=message):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"id": 1}, "id is 1"),
        ({"kind": "film"}, "kind is 'film'"),
        ({"lines": "x"}, "lines is 'x'"),
        ({"neighbours": [1]}, "neighbours is"),
    ],
)
def test_a_row_that_is_no_answer_is_named(
    tmp_path: Path, changed: dict[str, Any], message: str
) -> None:
    row = {"id": "a", "kind": "user", "text": "t", "lines": [], "neighbours": [], "source": "s"}
    path = tmp_path / "answers.jsonl"
    path.write_text("\n".join(json.dumps(line) for line in (row, row | changed)))
    with pytest.raises(InstructionDataError, match=f"line 2: {message}"):
        list(read_answers(path))


def test_a_line_that_is_no_object_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text("{}\n[]\n")
    with pytest.raises(InstructionDataError, match="line 2: not an object"):
        list(read_lines(path))
    with pytest.raises(InstructionDataError, match="is missing"):
        list(read_lines(tmp_path / "no.jsonl"))
