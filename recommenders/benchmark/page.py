"""The results as one self-contained HTML file."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

from recommenders.benchmark import plots

if TYPE_CHECKING:
    from collections.abc import Sequence

    from recommenders.benchmark.experiment import Experiment
    from recommenders.benchmark.results import ModelResults

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: 1rem 0; }
td, th { border-bottom: 1px solid #ddd; padding: .25rem .75rem; text-align: right; }
td:first-child, th:first-child { text-align: left; }
svg { max-width: 100%; height: auto; }
"""


def page(experiment: Experiment, results: Sequence[ModelResults], *, document: str) -> str:
    """Returns the page.

    Args:
        experiment: The experiment.
        results: Its results.
        document: The same in Markdown, whose tables are shown.
    """
    parts = [_body(document)]
    for scenario in next(iter(results[0].chosen.values())).runs:
        parts += [plots.bars(results, scenario, metric) for metric in ("recall@20", "ndcg@20")]
        if {"base", "augmented"} <= {one.variant for one in results}:
            parts.append(plots.by_history(results, scenario, "ndcg@20"))
    title = html.escape(experiment.name)
    return (
        f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>{title}</title>\n'
        f"<style>{_STYLE}</style>\n" + "\n".join(parts) + "\n</html>\n"
    )


def _body(document: str) -> str:
    """Converts the subset of Markdown that `tables` writes to HTML: headings, lists, tables, text."""
    parts: list[str] = []
    table: list[list[str]] = []
    for line in [*document.splitlines(), ""]:
        if line.startswith("|"):
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            if not set("".join(cells)) <= set("-: "):
                table.append(cells)
            continue
        if table:
            parts.append(_table(table))
            table = []
        if line.startswith("#"):
            level = len(line) - len(line.lstrip("#"))
            parts.append(f"<h{level}>{_inline(line.lstrip('# '))}</h{level}>")
        elif line.startswith("- "):
            parts.append(f"<p>• {_inline(line[2:])}</p>")
        elif line:
            parts.append(f"<p>{_inline(line)}</p>")
    return "\n".join(parts)


def _table(rows: list[list[str]]) -> str:
    head, *body = rows
    lines = ["<table>", _row(head, "th"), *(_row(row, "td") for row in body), "</table>"]
    return "\n".join(lines)


def _row(cells: list[str], tag: str) -> str:
    return "<tr>" + "".join(f"<{tag}>{_inline(cell)}</{tag}>" for cell in cells) + "</tr>"


def _inline(text: str) -> str:
    escaped = html.escape(text)
    for mark, tag in (("**", "b"), ("`", "code")):
        pieces = escaped.split(mark)
        escaped = pieces[0] + "".join(
            (f"<{tag}>" if number % 2 == 0 else f"</{tag}>") + piece
            for number, piece in enumerate(pieces[1:])
        )
    return escaped
