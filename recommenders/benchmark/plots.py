"""Plots of the results, as SVG."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import matplotlib as mpl
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from recommenders.benchmark.results import ModelResults

_COLOURS = {"base": "#8d99ae", "augmented": "#1f6f8b", None: "#c9ada7"}


def bars(results: Sequence[ModelResults], scenario: str, metric: str) -> str:
    """Returns a bar for each model, with the standard deviation over seeds."""
    figure = Figure(figsize=(8, 0.32 * len(results) + 1))
    axes = figure.subplots()
    spreads = [one.spread(scenario, metric) for one in results]
    axes.barh(
        [one.label for one in results],
        [spread.mean for spread in spreads],
        xerr=[spread.deviation for spread in spreads],
        color=[_COLOURS[one.variant if one.control is None else None] for one in results],
        error_kw={"elinewidth": 1},
    )
    axes.invert_yaxis()
    axes.set_xlabel(metric)
    axes.set_title(scenario, loc="left")
    return _svg(figure)


def by_history(results: Sequence[ModelResults], scenario: str, metric: str) -> str:
    """Returns a line for each model with both variants: the gain by the number of known items."""
    figure = Figure(figsize=(8, 4))
    axes = figure.subplots()
    variants = {(one.model, one.variant): one for one in results if one.control is None}
    for model in dict.fromkeys(one.model for one in results):
        base, augmented = (variants.get((model, name)) for name in ("base", "augmented"))
        if base is None or augmented is None:
            continue
        old = base.bins(scenario, "by_history", metric)
        new = augmented.bins(scenario, "by_history", metric)
        labels = [label for label in old if label in new]
        gain = [new[label].mean - old[label].mean for label in labels]
        axes.plot(labels, gain, marker="o", label=model)
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_xlabel("known items of the user")
    axes.set_ylabel(f"{metric}, augmented less base")
    axes.set_title(scenario, loc="left")
    if axes.lines[:-1]:
        axes.legend(frameon=False)
    return _svg(figure)


def _svg(figure: Figure) -> str:
    # Text as text elements, and reproducible bytes.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "reclm"}):
        out = io.StringIO()
        figure.tight_layout()
        figure.savefig(out, format="svg", metadata={"Date": None})
    return out.getvalue()[out.getvalue().index("<svg") :]
