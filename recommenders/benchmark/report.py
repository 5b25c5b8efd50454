"""Inserts results into a document, so that no figure is copied by hand.

The text between `<!-- results NAME -->` and `<!-- end NAME -->` is replaced by `results.md` of the
results folder NAME. The rest of the document is kept.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from recommenders.benchmark.errors import BenchmarkError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

RESULTS = "results.md"


def with_results(document: str, folders: Sequence[Path]) -> str:
    """Returns the document with the results of these folders.

    Headings are moved one level down.

    Raises:
        BenchmarkError: A folder has no results, or the document lacks one of the two lines.
    """
    for folder in folders:
        name = folder.resolve().name
        try:
            results = (folder / RESULTS).read_text(encoding="utf-8")
        except OSError as error:
            raise BenchmarkError(
                f"{folder} has no {RESULTS} ({error}); run its benchmark first"
            ) from error
        start, end = f"<!-- results {name} -->", f"<!-- end {name} -->"
        before, found, rest = document.partition(start)
        _, ended, after = rest.partition(end)
        if not (found and ended):
            raise BenchmarkError(
                f"the document has no place for {name}: a line {start!r}, and below it {end!r}"
            )
        lowered = re.sub(r"^#", "##", results, flags=re.MULTILINE).strip()
        document = f"{before}{start}\n\n{lowered}\n\n{end}{after}"
    return document
