"""Files without columns: lines of text, and lines of whole numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from recommenders.data.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

_DIGITS = 18  # always within 64 bits


def text_lines(path: Path, encoding: str = "utf-8") -> Iterator[tuple[str, str]]:
    """Yields "file, line n" and the line without its end; raises DatasetError for another encoding."""
    if not path.is_file():
        raise DatasetError(f"{path} is missing")
    with path.open("rb") as file:
        for number, raw in enumerate(file, start=1):
            where = f"{path}, line {number}"
            try:
                yield where, raw.decode(encoding).rstrip("\r\n")
            except UnicodeDecodeError as error:
                raise DatasetError(f"{where}: not {encoding.upper()}: {error}") from error


def number_lines(path: Path) -> Iterator[tuple[str, NDArray[np.int64]]]:
    """Yields "file, line n" and the line's whole numbers; raises DatasetError for anything else."""
    for where, line in text_lines(path):
        words = line.split()
        for word in words:
            if not (word.isascii() and word.isdigit() and len(word) <= _DIGITS):
                raise DatasetError(f"{where}: {word!r} is no whole number from 0")
        yield where, np.array(words, np.int64)
