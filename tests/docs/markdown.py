"""What the tests read from Markdown: links, headings, and prose without code."""

from __future__ import annotations

import os
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]

_FENCE = re.compile(r"^(```|~~~).*?^\1\s*$", re.MULTILINE | re.DOTALL)
_INDENTED = re.compile(r"(?:(?<=\n\n)|\A)(?: {4}.*(?:\n|\Z)|[ \t]*\n(?= {4}))+")
_SPAN = re.compile(r"(`+)(?!`).+?(?<!`)\1(?!`)", re.DOTALL)
_LINK = re.compile(r"\[(?:[^\[\]]|\[[^\]]*\])*\]\(\s*<?([^()\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
_HEADING = re.compile(r"^#{1,6} +(.+?) *#*$", re.MULTILINE)
_SKIPPED = {"build", "dist", "node_modules", "__pycache__"}


def files(*suffixes: str, root: Path = ROOT) -> list[Path]:
    """Returns the project's files of certain suffixes ("" for none), hidden folders left out."""
    found = []
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(
            name for name in folders if name not in _SKIPPED and (name[0] != "." or name == ".ci")
        )
        found += [Path(folder, name) for name in sorted(names) if Path(name).suffix in suffixes]
    return found


def pages(root: Path = ROOT) -> list[Path]:
    """Returns every Markdown file."""
    return files(".md", root=root)


def without_blocks(text: str) -> str:
    """Returns Markdown without fenced and indented blocks of code."""
    return _INDENTED.sub("", _FENCE.sub("", text))


def blocks(text: str) -> list[str]:
    """Returns the fenced and the indented blocks of code."""
    fenced = [match.group() for match in _FENCE.finditer(text)]
    return fenced + [match.group() for match in _INDENTED.finditer(_FENCE.sub("", text))]


def prose(text: str) -> str:
    """Returns Markdown without code of any kind and without the targets of its links."""
    plain = _SPAN.sub("", without_blocks(text))
    return re.sub(r"\]\([^)]*\)", "]", plain)


def links(text: str) -> list[str]:
    """Returns the targets of all links and images, in order; those to other sites left out."""
    found: list[str] = _LINK.findall(_SPAN.sub("code", without_blocks(text)))
    return [target for target in found if not re.match(r"[a-z]+:", target)]


def anchors(text: str) -> set[str]:
    """Returns the anchors of a page's headings, as GitHub makes them."""
    found: dict[str, int] = {}
    result = set()
    for heading in _HEADING.findall(_FENCE.sub("", text)):
        shown = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", shown.lower()).replace(" ", "-")
        count = found.get(slug, 0)
        found[slug] = count + 1
        result.add(f"{slug}-{count}" if count else slug)
    return result


def broken_links(page: Path) -> list[str]:
    """Returns what is wrong with the relative links of a page, a line for each."""
    wrong = []
    for target in links(page.read_text(encoding="utf-8")):
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists():
            wrong.append(f"{target}: there is no such file")
        elif anchor and anchor not in anchors(file.read_text(encoding="utf-8")):
            wrong.append(f"{target}: that page has no such heading")
    return wrong
