"""Links between pages lead somewhere, and so do the paths of pages that code and messages name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.markdown import ROOT, anchors, broken_links, files, links, pages

PAGES = pages()
MENTION = re.compile(r"(?<![\w/.<-])docs/(?:[\w.-]+/)*[\w.-]*\w(?:#[\w-]+)?")
READ = (".py", ".md", ".toml", ".yml", ".yaml", ".sh", ".conf", ".txt", ".example", "")
EXAMPLE = "NNNN"
"""Stands in a path for a number that the reader chooses."""


def mentions(text: str) -> list[str]:
    return [found for found in MENTION.findall(text) if EXAMPLE not in found]


def lost(mention: str, root: Path) -> bool:
    """Says whether a path of a page, with or without an anchor, leads nowhere."""
    path, _, anchor = mention.partition("#")
    page = root / path
    return not page.exists() or bool(anchor and anchor not in anchors(page.read_text()))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_resolve(page: Path):
    assert broken_links(page) == []


def test_the_pages_have_links():
    assert len(PAGES) > 30
    assert sum(len(links(page.read_text())) for page in PAGES) > 100


def test_every_page_is_reached_from_the_index():
    index = ROOT / "docs" / "README.md"
    found, new = {index}, {index}
    while new:
        new = {
            (page.parent / target.partition("#")[0]).resolve()
            for page in new
            for target in links(page.read_text())
            if target.partition("#")[0].endswith(".md")
        } - found
        found |= new
    assert {page for page in PAGES if page.is_relative_to(ROOT / "docs")} - found == set()


def test_paths_of_pages_in_code_and_text_exist():
    named = {
        (str(file.relative_to(ROOT)), mention)
        for file in files(*READ)
        if file != Path(__file__) and "benchmarks/out" not in str(file)
        for mention in mentions(file.read_text(encoding="utf-8", errors="ignore"))
    }
    assert {name for name, _ in named} >= {"docker-compose.yml", "recommenders/cli.py"}
    assert sorted(each for each in named if lost(each[1], ROOT)) == []


def test_a_broken_link_and_a_broken_anchor_are_found(tmp_path: Path):
    (tmp_path / "other.md").write_text("# Two words, `code`\n\n# Two words, `code`\n")
    page = tmp_path / "page.md"
    page.write_text(
        "# Here\n\n[a](other.md) [b](other.md#two-words-code-1) [c](#here)\n\n"
        "[d](gone.md) ![e](gone.png) [f](other.md#three) [g](#there) [site](https://x.example/y)\n\n"
        "`[h](not-a-link.md)`\n\n    [i](nor-this.md)\n\n```\n[j](nor-that.md)\n# Not a heading\n```\n"
        "[two\nlines](lost.md)\n"
    )
    assert broken_links(page) == [
        "gone.md: there is no such file",
        "gone.png: there is no such file",
        "other.md#three: that page has no such heading",
        "#there: that page has no such heading",
        "lost.md: there is no such file",
    ]


def test_a_path_that_leads_nowhere_is_found(tmp_path: Path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "page.md").write_text("# Title\n")
    text = (
        'help="see docs/page.md." # (docs/gone.md), docs/page.md#title docs/page.md#other\n'
        "https://x.example/docs/elsewhere.md ../docs/page2.md docs/decisions/NNNN-name.md"
    )
    assert mentions(text) == [
        *("docs/page.md", "docs/gone.md", "docs/page.md#title", "docs/page.md#other")
    ]
    assert [each for each in mentions(text) if lost(each, tmp_path)] == [
        "docs/gone.md",
        "docs/page.md#other",
    ]
