"""The plot of a study: a line for each way over the number of known clicks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from recommenders.study.run import METRICS

if TYPE_CHECKING:
    from recommenders.study.plan import Study
    from recommenders.study.report import Findings

_COLOURS = {"popularity": "#8d99ae", "fold-in": "#c1666b", "profile": "#d4a017", "both": "#1f6f8b"}
_MARKERS = ("o", "s", "^", "D", "v")


def lines(study: Study, found: Findings) -> Figure:
    """Returns a figure with a plot for each metric; bars are the standard deviation over seeds."""
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    for axes, metric in zip(figure.subplots(1, len(METRICS)), METRICS, strict=True):
        seen: dict[str, int] = {}
        for way in study.ways:
            number = seen[way.name] = seen.get(way.name, -1) + 1
            spreads = [found.spread(way.shown, count, metric) for count in study.clicks]
            axes.errorbar(
                study.clicks,
                [one.mean for one in spreads],
                yerr=[one.deviation for one in spreads],
                label=way.shown,
                color=_COLOURS[way.name],
                marker=_MARKERS[number % len(_MARKERS)],
                linestyle="-" if number == 0 else "--",
                elinewidth=1,
            )
        axes.set_xscale("log")
        axes.set_xticks(study.clicks, [str(count) for count in study.clicks])
        axes.minorticks_off()
        axes.set_xlabel("known clicks of a new user")
        axes.set_ylabel(metric)
    figure.axes[0].legend(frameon=False)
    figure.suptitle(study.name)
    return figure
