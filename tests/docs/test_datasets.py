"""docs/reference/datasets.md names every source that can be imported."""

from __future__ import annotations

import re
from pathlib import Path

from recommenders.data.sources import SOURCES

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "datasets.md").read_text()


def test_each_source_has_its_columns_and_its_licence():
    columns, licences = (
        {name for row in table for name in re.findall(r"`([\w-]+)`", row)}
        for table in (
            re.findall(r"^\| (`[\w-]+`) \| (?:[^|]*\|){6}$", PAGE, re.MULTILINE),
            re.findall(r"^\| (`[^|]+`) \| (?:[^|]*\|){2}$", PAGE, re.MULTILINE),
        )
    )
    assert columns == {*SOURCES, "table"}
    assert licences == set(SOURCES)
