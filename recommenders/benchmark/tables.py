"""The results as Markdown and as Parquet."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from recommenders.benchmark import convergence
from recommenders.benchmark.controls import WORDS
from recommenders.benchmark.paper import paper_figures
from recommenders.benchmark.worth import CUT_OFF, LEVEL, ONE_SEED, gains, worths
from recommenders.significance import holm

if TYPE_CHECKING:
    from collections.abc import Sequence

    from recommenders.benchmark.experiment import Experiment
    from recommenders.benchmark.results import ModelResults
    from recommenders.benchmark.worth import Worth
    from recommenders.crossed import Chance
    from recommenders.data.audit import Audit

_METRIC = "ndcg@20"
SHOWN = ("recall@20", "ndcg@20", "recall@40", "ndcg@40")

_PAPER = (
    "Protocol of the paper: the best step **on the test part**. Only for a comparison with its "
    "table; these figures do not estimate the quality on other data."
)
_BEST_STEP = (
    "Best step: the highest over seeds, of the budget in optimiser steps; a row whose best step is in the last "
    "tenth of it has not converged, and decides nothing"
)
_TEST = (
    "cluster bootstrap over users, items and seeds; p after Holm for all differences of the table; in the "
    "column 80 %, the smallest difference that the table would show with that probability"
)


def markdown(
    experiment: Experiment,
    results: Sequence[ModelResults],
    audit: Audit,
    *,
    command: str,
    where: str,
) -> str:
    """Returns the results as a Markdown document.

    Args:
        experiment: The experiment.
        results: Its results.
        audit: The audit of the data and the split.
        command: The command that prints this.
        where: Date and machine.
    """
    first = next(iter(results[0].chosen.values()))
    lines = [f"# {experiment.name}", ""]
    if experiment.protocol == "paper":
        lines += [_PAPER, ""]
    facts = next(iter(first.runs.values())).result
    seeds = ", ".join(map(str, experiment.seeds))
    lines += [
        f"`{command}`, {where}.",
        "",
        f"- Data: {experiment.dataset}, split {facts['split']}, seeds {seeds}",
        f"- `reclm-recommend data audit`: **{'; '.join((audit.verdict, *audit.reasons))}**",
        f"- Profiles: {_profiles(results)}",
        f"- Controls: {_controls(experiment)}",
        f"- Choices (step, options): {_choices(experiment)}",
        "- Means over users, then over seeds, with the sample deviation over seeds",
        "- CPU s: processor time of training, including validation",
        f"- {_BEST_STEP}",
        "",
    ]
    for scenario in first.runs:
        users = first.figures(scenario)["users"]
        lines += [f"## {scenario}: {users:,} users", ""]
        lines += _figures(results, scenario)
        lines += _beside(experiment, results, scenario)
        lines += _worths(results, scenario)
        lines += _gains(results, scenario)
    return "\n".join(lines).rstrip() + "\n"


def parquet(results: Sequence[ModelResults]) -> pa.Table:
    """Returns a row for each model, seed, scenario, part and metric."""
    rows = []
    for one in results:
        for seed, run in one.chosen.items():
            for scenario in run.runs:
                for part in ("validation", "test"):
                    rows += [
                        (one.label, one.model, one.variant, seed, scenario, part, metric, value)
                        for metric, value in run.figures(scenario)[part].items()
                    ]
    names = ["label", "model", "variant", "seed", "scenario", "part", "metric", "value"]
    return pa.table(dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)))


def _profiles(results: Sequence[ModelResults]) -> str:
    found = {
        finished.result["profiles"]
        for one in results
        for chosen in one.chosen.values()
        for finished in chosen.runs.values()
    }
    return "; ".join(sorted(found - {None})) or "none"


def _controls(experiment: Experiment) -> str:
    if experiment.profiles is None:
        return "none, as there are no profiles"
    if not experiment.controls:
        return "**none**: no difference is called a gain from profiles"
    names = "; ".join(WORDS[control] for control in experiment.controls)
    return f"{names} (in place of text + profile, with the same layers, search and budget)"


def _choices(experiment: Experiment) -> str:
    part = "test" if experiment.protocol == "paper" else "validation"
    of = "each scenario's own" if experiment.scenario is None else f"{experiment.scenario}'s"
    few = [
        f"at most {most:,} users in {name}"
        for name, most in (
            ("validation", experiment.validation_users),
            ("test", experiment.test_users),
        )
        if most is not None
    ]
    return "; ".join([f"by {experiment.metric} on {of} {part}", *few])


def _beside(experiment: Experiment, results: Sequence[ModelResults], scenario: str) -> list[str]:
    """Returns our results beside the paper's, for the models in the paper."""
    theirs = {} if experiment.paper is None else paper_figures(experiment.paper, scenario)
    rows = [
        [
            one.label,
            *(
                cell
                for metric in SHOWN
                for cell in (
                    f"{one.spread(scenario, metric).mean:.4f}",
                    f"{theirs[one.model, one.variant][metric]:.4f}",
                )
            ),
        ]
        for one in results
        if (one.model, one.variant) in theirs
    ]
    if not rows:
        return []
    head = " | ".join(f"{metric} | paper" for metric in SHOWN)
    return [
        "Beside the paper's table (arXiv 2412.19302):",
        "",
        f"| model | {head} |",
        "|---|" + "--:|" * (2 * len(SHOWN)),
        *(f"| {' | '.join(row)} |" for row in rows),
        "",
    ]


def _figures(results: Sequence[ModelResults], scenario: str) -> list[str]:
    lines = [
        "| model | " + " | ".join(SHOWN) + " | coverage | CPU s | best step |",
        "|---|" + "--:|" * (len(SHOWN) + 3),
    ]
    best = {metric: max(one.spread(scenario, metric).mean for one in results) for metric in SHOWN}
    for one in results:
        cells = []
        for metric in SHOWN:
            spread = one.spread(scenario, metric)
            text = f"{spread.mean:.4f}" + (f" ± {spread.deviation:.4f}" if spread.n > 1 else "")
            cells.append(f"**{text}**" if spread.mean == best[metric] else text)
        runs = one.chosen.values()
        coverage = sum(run.figures(scenario)["coverage"] for run in runs) / len(runs)
        seconds = sum(run.seconds(scenario) for run in runs) / len(runs)
        cells += [f"{coverage:.0%}", f"{seconds:,.0f}", convergence.shown(one, scenario)]
        lines.append(f"| {one.label} | {' | '.join(cells)} |")
    return [*lines, ""]


def _worths(results: Sequence[ModelResults], scenario: str) -> list[str]:
    """Returns what profiles are worth beyond what is known without them."""
    found = worths(results, scenario, _METRIC)
    if not found:
        return []
    lines = [
        (
            f"What profiles are worth ({_METRIC}; marginal: less the best row without profiles, which is chosen on "
            f"validation; {_TEST}):"
        ),
        "",
        "| row | over text | gated, over text | best without profiles | marginal worth | 95 % | p | 80 % | verdict |",
        "|---|--:|--:|---|--:|--:|--:|--:|---|",
    ]
    for one in found:
        over, kept = (
            "" if chance is None else f"{chance.difference:+.4f}"
            for chance in (one.over_text, one.gated)
        )
        cells = [one.name, over, kept, one.best or "none"]
        cells += [""] * 4 if one.marginal is None else _chance(one.marginal, one.p, one.tests)
        lines.append(f"| {' | '.join([*cells, one.verdict])} |")
    return [*lines, "", *_placebos(found), *_newer(found)]


def _placebos(found: Sequence[Worth]) -> list[str]:
    """Returns what the gate leaves of the harm of shuffled profiles, in the worst row."""
    there = [(one.placebo.difference, one.name) for one in found if one.placebo is not None]
    if not there:
        return []
    least, name = min(there)
    return [f"Shuffled profiles, gated, over text: {least:+.4f} in the worst row ({name}).", ""]


def _newer(found: Sequence[Worth]) -> list[str]:
    """Returns the marginal worth on items newer than the writer's knowledge, where there are any."""
    there = [(one, one.newer) for one in found if one.newer is not None]
    if not there:
        return []
    adjusted = holm([chance.p for _, chance in there]).tolist()
    lines = [
        (
            f"The same on items newer than what the writer of the profiles knows ({there[0][1].items:,} relevant items "
            f"of {there[0][1].users:,} users):"
        ),
        "",
        "| row | best without profiles | marginal worth | 95 % | p | 80 % |",
        "|---|---|--:|--:|--:|--:|",
    ]
    for (one, chance), p in zip(there, adjusted, strict=True):
        cells = [one.name, one.best or "none", *_chance(chance, p, len(there))]
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]


def _gains(results: Sequence[ModelResults], scenario: str) -> list[str]:
    """Returns the differences between rows that the grid asks for."""
    found = gains(results, scenario, _METRIC)
    if not found:
        return []
    lines = [
        f"Differences between rows ({_METRIC}, the first minus the second; {_TEST}):",
        "",
        "| rows | difference | 95 % | p | 80 % | |",
        "|---|--:|--:|--:|--:|---|",
    ]
    for gain in found:
        verdict = "no difference shown"
        if gain.cut_off:
            verdict = CUT_OFF
        elif gain.chance.seeds < 2:
            verdict = ONE_SEED
        elif gain.p < LEVEL:
            verdict = "gain" if gain.chance.difference > 0 else "**loss**"
        cells = [gain.name, *_chance(gain.chance, gain.p, gain.tests), verdict]
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]


def _chance(one: Chance, p: float, tests: int) -> list[str]:
    """Returns a difference, its interval, its p and what could be shown, as cells."""
    low, high = one.interval()
    return [
        f"{one.difference:+.4f}",
        f"{low:+.4f} to {high:+.4f}",
        _probability(p),
        f"{one.showable(tests):.4f}",
    ]


def _probability(p: float) -> str:
    """Formats a p-value; one that underflows is shown as a bound."""
    return f"{p:.2g}" if p > 0 else "< 1e-300"
