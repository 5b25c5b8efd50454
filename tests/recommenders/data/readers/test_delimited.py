"""Rows of text files, whatever is wrong with them, by the line on which they stand."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import pytest

from recommenders.data.errors import DatasetError
from recommenders.data.readers.blocks import read_delimited
from services.common.tabular import delimited, files
from services.common.tabular.delimited import CSV, Dialect
from services.common.tabular.rules import listed

if TYPE_CHECKING:
    from pathlib import Path

    from recommenders.data.readers.blocks import Block

TABS = Dialect(delimiter="\t", quotes=False, columns=("a", "b"))


def written(folder: Path, raw: bytes, name: str = "x.csv") -> Path:
    path = folder / name
    path.write_bytes(raw)
    return path


def read(path: Path, dialect: Dialect = CSV, columns: tuple[str, ...] = ("a", "b")) -> list[Block]:
    return list(read_delimited(path, dialect, columns))


def times(blocks: list[Block]) -> list[int]:
    return [second for block in blocks for second in block.times("a").to_pylist()]


def rows(blocks: list[Block], name: str = "a") -> list[str]:
    return [text for block in blocks for text in listed(block.texts(name))]


@pytest.mark.parametrize(
    ("raw", "dialect", "expected"),
    [
        (b"a,b\n1,2\n3,4\n", CSV, ["1", "3"]),
        (b"\xef\xbb\xbfb,a\r\n2,1\r\n4,3", CSV, ["1", "3"]),
        (b'c,"a",b\nx,"1,\n""q""",2\nx,3,4\n', CSV, ['1,\n"q"', "3"]),
        (b"a,b\n", CSV, []),
        (b'"1\t2\n3"\t4\n', TABS, ['"1', '3"']),
        (b"", TABS, []),
        ("a,b\nNULL,2\nµ,4\n".encode(), CSV, ["NULL", "µ"]),
    ],
)
def test_rows_are_read(tmp_path: Path, raw: bytes, dialect: Dialect, expected: list[str]) -> None:
    assert rows(read(written(tmp_path, raw), dialect)) == expected


def test_packed_files_are_read(tmp_path: Path) -> None:
    packed = written(tmp_path, gzip.compress(b"a,b\n1,2\n"), "x.csv.gz")
    assert rows(read(packed)) == ["1"]
    packed.write_bytes(packed.read_bytes()[:-9])
    with pytest.raises(DatasetError, match=r"x\.csv\.gz"):
        read(packed)


def test_lines_are_counted_through_all_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "BLOCK", 64)
    path = written(tmp_path, b"a,b\n" + b"1,2\n" * 40 + b'"two\nlines",2\n' + b"x,2\n")
    blocks = read(path)
    assert len(blocks) > 2
    with pytest.raises(DatasetError, match=r"x\.csv, line 42: a is 'two\\nlines', not seconds"):
        times(blocks)
    path.write_bytes(path.read_bytes() + b"1\n")
    with pytest.raises(DatasetError, match=r"x\.csv, line 45: 1 values for 2 columns"):
        read(path)


def test_a_row_that_is_longer_than_a_block_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "BLOCK", 64)
    path = written(tmp_path, b"a,b\n1,2\n" + b"1" * 200 + b",2\n1,2\n")
    assert rows(read(path)) == ["1", "1" * 200, "1"]
    monkeypatch.setattr(files, "MAX_LINE", 128)
    monkeypatch.setattr(delimited, "MAX_LINE", 128)
    with pytest.raises(DatasetError, match=r"x\.csv, line 3: the line has more than 128 bytes"):
        read(path)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", r"x\.csv does not begin with a line that names the columns"),
        (b"a;b\n1;2\n", r"x\.csv has no column 'a', 'b'; it has a;b"),
        (b"a,b,a\n1,2,3\n", r"x\.csv has column 'a' more than once"),
        (b"a,b\n1,2\n1,2,3\n", r"x\.csv, line 3: 3 values for 2 columns"),
        (b"a,\xff\n", r"x\.csv, line 1: not UTF-8"),
        (b'a,b\n1,2\n"1,2\n3,4\n', r"x\.csv, line 3: not CSV: unexpected end of data"),
        (b"a,b\r1,2\r3,4\r", r"x\.csv does not begin with a line that names the columns$"),
    ],
)
def test_a_file_that_is_no_table_is_refused(tmp_path: Path, raw: bytes, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        read(written(tmp_path, raw))
