"""The pages of docs/results: what each opens with, and the markers that `report` fills in."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
INDEX = ROOT / "docs" / "results" / "README.md"
PAGES = sorted(set(INDEX.parent.glob("*.md")) - {INDEX})
_PLACE = re.compile(r"^<!-- (results|end) ([\w-]+) -->$", re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_opens_with_question_answer_and_measurement(page: Path) -> None:
    _, *paragraphs = page.read_text(encoding="utf-8").split("\n\n")
    openings = [paragraph.split(" ", 1)[0] for paragraph in paragraphs[:3]]
    assert openings == ["**Question.**", "**Answer.**", "**Measured**"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_index_links_each_page(page: Path) -> None:
    assert f"({page.name})" in INDEX.read_text(encoding="utf-8")


def test_each_grid_has_one_place_that_ends() -> None:
    markers: Counter[str] = Counter()
    for page in PAGES:
        marks = _PLACE.findall(page.read_text(encoding="utf-8"))
        starts, ends = marks[::2], marks[1::2]
        assert starts == [("results", name) for _, name in ends], page.name
        assert ends == [("end", name) for _, name in starts], page.name
        markers.update(name for _, name in starts)
    assert markers
    assert set(markers.values()) == {1}
    configs = ROOT / "recommenders" / "configs"
    assert [name for name in markers if not (configs / f"{name}.yaml").is_file()] == []
