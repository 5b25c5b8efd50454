"""Pages use the glossary's terms, and not the words that it replaces."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.docs.markdown import ROOT, pages, prose

if TYPE_CHECKING:
    from pathlib import Path

GLOSSARY = ROOT / "docs" / "explanation" / "glossary.md"
TERMS = GLOSSARY.read_text().split("## The field's terms", 1)[1]
ROWS = re.findall(r"^\| (?!say |-)(.+?) \| (.+?) \|$", TERMS, re.MULTILINE)
REPLACED = [word for _, column in ROWS for word in re.findall(r"`([^`]+)`", column)]
PAGES = [page for page in pages() if page not in {GLOSSARY, ROOT / "CHANGELOG.md"}]
"""The changelog lists old names beside new ones."""


def found(words: list[str], text: str) -> list[str]:
    """Returns the words that stand in a text outside of code, with their usual endings."""
    stems = "|".join(re.escape(word.removesuffix("e")) + "e?" for word in words)
    pattern = re.compile(rf"\b(?:{stems})(?:s|d|ed|ing|led|ling)?\b", re.IGNORECASE)
    return pattern.findall(re.sub(r"\s+", " ", prose(text)))


def test_the_table_is_read():
    assert len(ROWS) > 10
    assert {"stranger", "spool", "judge", "sift", "bury"} <= set(REPLACED)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_page_uses_a_replaced_word(page: Path):
    assert found(REPLACED, page.read_text()) == []


def test_a_replaced_word_is_found_in_prose_and_not_in_code():
    text = (
        "Strangers are judged; it spools, and goes\non with the rest.\n\n"
        "`stranger` [a page](stranger.md)\n\n    stranger = 1\n\n```\njudge\n```\n"
        "Prejudice and space are other words.\n"
    )
    assert found(["stranger", "judge", "spool", "pace", "goes on with"], text) == [
        *("Strangers", "judged", "spools", "goes on with")
    ]
