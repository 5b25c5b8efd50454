"""The results of a study: tables in Markdown, and tests of whether `both` is no worse."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from recommenders.significance import Comparison, Spread, holm, paired
from recommenders.study.plan import BOTH
from recommenders.study.run import METRICS

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa
    from numpy.typing import NDArray

    from recommenders.study.plan import Study

_LEVEL = 0.05
"""The significance level."""


@dataclass(frozen=True, slots=True)
class Findings:
    """The results of a study by label, part, clicks and metric.

    Attributes:
        means: (label, part, clicks, metric) -> the mean over users, for each seed in order.
        users: The same key -> a value for each user and seed, in the same order for all labels.
        wanted: Number of relevant items of each test user and seed, in that order.
        people: A number for each user, the same for all seeds, in that order.
    """

    means: Mapping[tuple[str, str, int, str], list[float]]
    users: Mapping[tuple[str, str, int, str], NDArray[np.float64]]
    wanted: NDArray[np.int64]
    people: NDArray[np.int64]

    @classmethod
    def of(cls, table: pa.Table) -> Findings:
        """Aggregates the table of `run_study`."""
        labels, parts, ids = (
            np.asarray(table[name].to_pylist(), object) for name in ("label", "part", "user_id")
        )
        clicks, seeds, wanted = (np.asarray(table[name]) for name in ("clicks", "seed", "wanted"))
        means: dict[tuple[str, str, int, str], list[float]] = {}
        users: dict[tuple[str, str, int, str], NDArray[np.float64]] = {}
        for label in dict.fromkeys(labels):
            for part in ("validation", "test"):
                for count in np.unique(clicks).tolist():
                    here = np.flatnonzero((labels == label) & (parts == part) & (clicks == count))
                    here = here[np.lexsort((ids[here].astype(str), seeds[here]))]
                    for metric in METRICS:
                        values = np.asarray(table[metric])[here]
                        key = (label, part, count, metric)
                        users[key] = values
                        means[key] = [
                            float(values[seeds[here] == seed].mean())
                            for seed in np.unique(seeds[here])
                        ]
        _, people = np.unique(ids[here].astype(str), return_inverse=True)
        return cls(means, users, wanted[here].astype(np.int64), people)

    def spread(self, label: str, clicks: int, metric: str, part: str = "test") -> Spread:
        """Returns the mean and standard deviation over seeds."""
        return Spread.of(self.means[label, part, clicks, metric])

    def compared(self, new: str, old: str, clicks: int, metric: str) -> Comparison:
        """Compares two ways on the test users; each user's values are averaged over seeds."""
        times = np.bincount(self.people)
        new_mean, old_mean = (
            np.bincount(self.people, self.users[label, "test", clicks, metric]) / times
            for label in (new, old)
        )
        return paired(new_mean, old_mean)


def markdown(study: Study, found: Findings, *, command: str, where: str, profiles: str) -> str:
    """Returns the study's tables.

    Args:
        study: The study.
        found: Its results.
        command: The command that prints this.
        where: Date and machine.
        profiles: The provenance of the profiles.
    """
    count = len(found.users[study.ways[0].shown, "test", study.clicks[0], METRICS[0]])
    seeds = ", ".join(map(str, study.seeds))
    lines = [
        f"# {study.name}",
        "",
        f"`{command}`, {where}.",
        "",
        f"- Data: {study.dataset}, seeds {seeds}; {count / len(study.seeds):,.0f} new users each",
        f"- Profiles: {profiles}",
        f"- Relevant: the items after click {study.clicks[-1]}, the same for each column",
        "- Means over users, then over seeds, with the sample deviation over seeds",
        "",
    ]
    verdicts = _verdicts(study, found)
    for metric in METRICS:
        lines += [
            f"## {metric}",
            "",
            *_table(study, found, metric),
            *_against(verdicts, metric),
            *_by_wanted(study, found, metric),
        ]
    return "\n".join(lines).rstrip() + "\n"


def _table(study: Study, found: Findings, metric: str) -> list[str]:
    head = " | ".join(f"{count} click{'s' * (count > 1)}" for count in study.clicks)
    lines = [f"| way | {head} |", "|---|" + "--:|" * len(study.clicks)]
    labels = [way.shown for way in study.ways]
    for label in labels:
        cells = []
        for count in study.clicks:
            one = found.spread(label, count, metric)
            text = f"{one.mean:.4f}" + (f" ± {one.deviation:.4f}" if one.n > 1 else "")
            best = max(found.spread(other, count, metric).mean for other in labels)
            cells.append(f"**{text}**" if one.mean == best else text)
        lines.append(f"| {label} | {' | '.join(cells)} |")
    return [*lines, ""]


@dataclass(frozen=True, slots=True)
class _Verdict:
    """The comparison of a way of `both` with the best other way.

    Attributes:
        p: The p-value, adjusted for all comparisons of a report.
    """

    label: str
    metric: str
    clicks: int
    best: str
    found: Comparison
    p: float

    def __str__(self) -> str:
        if self.p >= _LEVEL:
            return "no difference shown"
        return "better" if self.found.difference > 0 else "**worse**"


def _verdicts(study: Study, found: Findings) -> list[_Verdict]:
    single = [way.shown for way in study.ways if way.name != BOTH]
    both = [way.shown for way in study.ways if way.name == BOTH and single]
    cases = []
    for metric, label, clicks in itertools.product(METRICS, both, study.clicks):
        best = max(single, key=lambda other: found.spread(other, clicks, metric).mean)
        cases.append((label, metric, clicks, best, found.compared(label, best, clicks, metric)))
    adjusted = holm([case[-1].p for case in cases]).tolist()
    return [_Verdict(*case, p) for case, p in zip(cases, adjusted, strict=True)]


def _against(verdicts: list[_Verdict], metric: str) -> list[str]:
    """Returns how each way that reads both does against the best that does not, by clicks."""
    lines: list[str] = []
    for label in dict.fromkeys(each.label for each in verdicts):
        lines += [
            f"`{label}` against the best other way at each number of clicks (paired t-test over users, each averaged",
            f"over seeds; p by Holm's method over all {len(verdicts)} of this page):",
            "",
            "| clicks | best other | difference | 95 % | p | |",
            "|--:|---|--:|--:|--:|---|",
            *(
                f"| {each.clicks} | {each.best} | {each.found.difference:+.4f} "
                f"| {each.found.low:+.4f} to {each.found.high:+.4f} | {each.p:.2g} | {each} |"
                for each in verdicts
                if (each.label, each.metric) == (label, metric)
            ),
            "",
        ]
    return lines


def _by_wanted(study: Study, found: Findings, metric: str) -> list[str]:
    """Returns the results at the largest number of clicks by quarters of the relevant items."""
    bounds = np.quantile(found.wanted, (0.25, 0.5, 0.75)).astype(int).tolist()
    quarter = np.searchsorted(bounds, found.wanted)
    if len(np.unique(quarter)) < len(bounds) + 1:
        return []  # too few new users, or too many with the same number
    least = [0, *bounds]
    heads = [f"{low + 1} to {high}" for low, high in zip(least, bounds, strict=False)]
    clicks = study.clicks[-1]
    lines = [
        f"At {clicks} click{'s' * (clicks > 1)}, by the number of relevant items (a quarter of the users each):",
        "",
        f"| way | {' | '.join([*heads, f'over {bounds[-1]}'])} |",
        "|---|" + "--:|" * (len(bounds) + 1),
    ]
    for way in study.ways:
        values = found.users[way.shown, "test", clicks, metric]
        means = [values[quarter == number].mean() for number in range(len(bounds) + 1)]
        lines.append(f"| {way.shown} |" + "".join(f" {mean:.4f} |" for mean in means))
    return [*lines, ""]
