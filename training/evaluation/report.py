"""A comparison as a table, as a page with plots and profiles side by side, and as JSON."""

from __future__ import annotations

import html
import io
from dataclasses import asdict, fields
from typing import TYPE_CHECKING

import matplotlib as mpl
from matplotlib.figure import Figure

from services.common.files import write_json, write_text
from training.evaluation.comparison import Evaluation

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from training.evaluation.comparison import Comparison
    from training.evaluation.writers import HeldOut

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 80rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: 1rem 0; }
td, th { border-bottom: 1px solid #ddd; padding: .25rem .75rem; text-align: right; }
td:first-child, th:first-child { text-align: left; }
dt { font-weight: bold; margin-top: 1rem; }
dd { margin: 0 0 0 1rem; }
svg { max-width: 20rem; height: auto; }
"""
_MEASURES = tuple(field.name for field in fields(Evaluation))


def table(evaluations: Mapping[str, Evaluation]) -> str:
    """Returns a Markdown table with a row for each model and without empty columns."""
    shown = _shown(evaluations)
    lines = ["| model | " + " | ".join(shown) + " |", "|---" + "|--:" * len(shown) + "|"]
    for model, evaluation in evaluations.items():
        lines.append("| " + " | ".join([model, *_cells(evaluation, shown)]) + " |")
    return "\n".join(lines)


def save(
    folder: Path,
    rows: Sequence[HeldOut],
    compared: Comparison,
    *,
    notes: Sequence[str],
) -> None:
    """Writes `compare.json`, `compare.md` and `compare.html`, each atomically.

    Args:
        folder: The folder, which is made if it does not exist. Older files are replaced.
        rows: The prompts.
        compared: The comparison.
        notes: Lines below the table.
    """
    folder.mkdir(parents=True, exist_ok=True)
    evaluations, answers = compared.evaluations, compared.answers
    side_by_side = [
        {"kind": row.kind, "id": row.id, **{name: found[at] for name, found in answers.items()}}
        for at, row in enumerate(rows)
    ]
    models = {name: asdict(evaluation) for name, evaluation in evaluations.items()}
    first = next(iter(answers))
    gains = {name: {"over": first, **asdict(gain)} for name, gain in compared.gains.items()}
    write_json(
        folder / "compare.json",
        {"models": models, "gains": gains, "notes": notes, "profiles": side_by_side},
    )
    lines = [table(evaluations), "", *(f"- {note}" for note in notes)]
    write_text(folder / "compare.md", "\n".join(lines) + "\n")
    write_text(folder / "compare.html", _page(rows, evaluations, answers, notes))


def _page(
    rows: Sequence[HeldOut],
    evaluations: Mapping[str, Evaluation],
    answers: Mapping[str, Sequence[str]],
    notes: Sequence[str],
) -> str:
    shown = _shown(evaluations)
    head = "".join(f"<th>{name}</th>" for name in ("model", *shown))
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in (name, *cells)) + "</tr>\n"
        for name, cells in ((name, _cells(one, shown)) for name, one in evaluations.items())
    )
    profiles = []
    for at, row in enumerate(rows):
        profiles.append(f"<h3>{row.kind} {html.escape(row.id)}</h3>")
        read = html.escape(row.prompt[-1].content)
        profiles.append(f"<details><summary>prompt</summary><pre>{read}</pre></details><dl>")
        profiles += [
            f"<dt>{html.escape(name)}</dt><dd>{html.escape(found[at])}</dd>"
            for name, found in answers.items()
        ]
        profiles.append("</dl>")
    return (
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>Profiles compared</title>\n'
        f"<style>{_STYLE}</style>\n<h1>Profiles compared</h1>\n"
        f"<table><tr>{head}</tr>\n{body}</table>\n"
        + "".join(f"<p>{html.escape(note)}</p>\n" for note in notes)
        + "\n".join(_bars(evaluations, name) for name in shown)
        + "\n<h2>Side by side</h2>\n"
        + "\n".join(profiles)
        + "\n</html>\n"
    )


def _bars(evaluations: Mapping[str, Evaluation], measure: str) -> str:
    """Returns a bar chart of a measure as SVG."""
    values = {name: getattr(one, measure) for name, one in evaluations.items()}
    there = {name: value for name, value in values.items() if value is not None}
    out = io.StringIO()
    # Text stays text, and the same figures give the same bytes.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "reclm"}):
        figure = Figure(figsize=(4, 0.3 * len(there) + 0.9), layout="tight")
        axes = figure.subplots()
        axes.barh(list(there), list(there.values()), color="#1f6f8b")
        axes.invert_yaxis()
        axes.set_title(measure, loc="left")
        figure.savefig(out, format="svg", metadata={"Date": None})
    return out.getvalue()[out.getvalue().index("<svg") :]


def _shown(evaluations: Mapping[str, Evaluation]) -> list[str]:
    return [
        name
        for name in _MEASURES
        if any(getattr(one, name) is not None for one in evaluations.values())
    ]


def _cells(evaluation: Evaluation, shown: Sequence[str]) -> list[str]:
    values = [getattr(evaluation, name) for name in shown]
    return ["" if value is None else f"{value:.3f}" for value in values]
