"""The results in Markdown and as Parquet."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from recommenders.benchmark.results import gains

if TYPE_CHECKING:
    from collections.abc import Sequence

    from recommenders.benchmark.experiment import Experiment
    from recommenders.benchmark.results import ModelResults

SHOWN = ("recall@20", "ndcg@20", "recall@40", "ndcg@40")

_PAPER = (
    "Protocol of the paper: the best epoch **on the test part**. Only for a comparison with its "
    "table; no figure here says how good a model would be on anything else."
)
_TEST = "paired t-test over users, p after Holm for all rows"


def markdown(
    experiment: Experiment, results: Sequence[ModelResults], *, command: str, where: str
) -> str:
    """Returns the results as a Markdown document.

    Args:
        experiment: What was run.
        results: What came out.
        command: That prints this.
        where: Date and machine.
    """
    first = next(iter(results[0].chosen.values())).result
    lines = [f"# {experiment.name}", ""]
    if experiment.protocol == "paper":
        lines += [_PAPER, ""]
    seeds = ", ".join(map(str, experiment.seeds))
    judge = "test" if experiment.protocol == "paper" else "validation"
    lines += [
        f"`{command}`, {where}.",
        "",
        f"- Data: {experiment.dataset}, split {first['split']}, seeds {seeds}",
        f"- Profiles: {first['profiles'] or 'none'}",
        f"- Choices (epoch, options) by {experiment.metric} on {judge}",
        "- Means over users, then over seeds, with the sample deviation over seeds",
        "",
    ]
    for scenario, figures in first["scenarios"].items():
        lines += [f"## {scenario}: {figures['users']:,} users", ""]
        lines += _figures(results, scenario)
        lines += _gains(results, scenario)
    return "\n".join(lines).rstrip() + "\n"


def parquet(results: Sequence[ModelResults]) -> pa.Table:
    """Returns a row for each model, seed, scenario, part and metric."""
    rows = []
    for one in results:
        for seed, run in one.chosen.items():
            for scenario, figures in run.result["scenarios"].items():
                for part in ("validation", "test"):
                    rows += [
                        (one.label, one.model, one.variant, seed, scenario, part, metric, value)
                        for metric, value in figures[part].items()
                    ]
    names = ["label", "model", "variant", "seed", "scenario", "part", "metric", "value"]
    return pa.table(dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)))


def _figures(results: Sequence[ModelResults], scenario: str) -> list[str]:
    lines = [
        "| model | " + " | ".join(SHOWN) + " | coverage | seconds |",
        "|---|" + "--:|" * (len(SHOWN) + 2),
    ]
    best = {metric: max(one.spread(scenario, metric).mean for one in results) for metric in SHOWN}
    for one in results:
        cells = []
        for metric in SHOWN:
            spread = one.spread(scenario, metric)
            text = f"{spread.mean:.4f}" + (f" ± {spread.deviation:.4f}" if spread.n > 1 else "")
            cells.append(f"**{text}**" if spread.mean == best[metric] else text)
        runs = [run.result for run in one.chosen.values()]
        coverage = sum(run["scenarios"][scenario]["coverage"] for run in runs) / len(runs)
        seconds = sum(run["seconds"] for run in runs) / len(runs)
        lines.append(f"| {one.label} | {' | '.join(cells)} | {coverage:.0%} | {seconds:,.0f} |")
    return [*lines, ""]


def _gains(results: Sequence[ModelResults], scenario: str) -> list[str]:
    metric = "ndcg@20"
    found = gains(results, scenario, metric)
    if not found:
        return []
    lines = [
        f"What profiles bring ({metric}, augmented less base; {_TEST}):",
        "",
        "| model | difference | 95 % | p | |",
        "|---|--:|--:|--:|---|",
    ]
    for gain in found:
        one = gain.comparison
        verdict = "no difference shown"
        if gain.p < 0.05:
            verdict = "gain" if one.difference > 0 else "**loss**"
        lines.append(
            f"| {gain.model} | {one.difference:+.4f} | {one.low:+.4f} to {one.high:+.4f} | "
            f"{gain.p:.2g} | {verdict} |"
        )
    return [*lines, ""]
