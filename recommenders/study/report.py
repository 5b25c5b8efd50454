"""The results of a study: tables in Markdown, and tests of whether `both` is no worse."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.compute as pc

from recommenders.benchmark.ranks import contributions
from recommenders.crossed import Cells, Chance, compare, numbered
from recommenders.significance import Spread, holm
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
class Pairs:
    """Users and their relevant items, in numbers from 0; (pairs,) each.

    Attributes:
        lists: The user in the seed.
        users: The user, the same in all seeds.
        items: The item.
        seeds: The seed.
    """

    lists: NDArray[np.int64]
    users: NDArray[np.int64]
    items: NDArray[np.int64]
    seeds: NDArray[np.int64]

    @classmethod
    def of(cls, table: pa.Table) -> Pairs:
        """Reads them from rows with `user_id`, `seed` and `items`."""
        items = table["items"].combine_chunks()
        sizes = np.asarray(pc.list_value_length(items))
        lists = np.repeat(np.arange(table.num_rows), sizes)
        return cls(
            lists=lists,
            users=numbered(np.asarray(table["user_id"].to_pylist(), np.str_))[lists],
            items=numbered(np.asarray(pc.list_flatten(items).to_pylist(), np.str_)),
            seeds=numbered(np.asarray(table["seed"]))[lists],
        )


@dataclass(frozen=True, slots=True)
class Findings:
    """The results of a study by label, part, clicks and metric.

    Attributes:
        means: (label, part, clicks, metric) -> the mean over users, for each seed in order.
        users: The same key -> a value for each user and seed, in the same order for all labels.
        wanted: Number of relevant items of each test user and seed, in that order.
        pairs: The relevant items of the test part, in that order.
        ranks: (label, clicks) -> the rank of each of them; 0 where it is not in the list.
    """

    means: Mapping[tuple[str, str, int, str], list[float]]
    users: Mapping[tuple[str, str, int, str], NDArray[np.float64]]
    wanted: NDArray[np.int64]
    pairs: Pairs
    ranks: Mapping[tuple[str, int], NDArray[np.int64]]

    @classmethod
    def of(cls, table: pa.Table) -> Findings:
        """Aggregates the table of `run_study`."""
        labels, parts, ids = (
            np.asarray(table[name].to_pylist(), object) for name in ("label", "part", "user_id")
        )
        clicks, seeds, wanted = (np.asarray(table[name]) for name in ("clicks", "seed", "wanted"))
        means: dict[tuple[str, str, int, str], list[float]] = {}
        users: dict[tuple[str, str, int, str], NDArray[np.float64]] = {}
        ranks: dict[tuple[str, int], NDArray[np.int64]] = {}
        lists = table["ranks"].combine_chunks()
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
                    if part == "test":
                        ranks[label, count] = np.asarray(
                            pc.list_flatten(lists.take(here)), np.int64
                        )
        # The test users, and their relevant items, are the same for each label and number of clicks.
        pairs = Pairs.of(table.select(["user_id", "seed", "items"]).take(here))
        return cls(means, users, wanted[here].astype(np.int64), pairs, ranks)

    def spread(self, label: str, clicks: int, metric: str, part: str = "test") -> Spread:
        """Returns the mean and standard deviation over seeds."""
        return Spread.of(self.means[label, part, clicks, metric])

    def compared(self, new: str, old: str, clicks: int, metric: str) -> Chance:
        """Compares two ways on the test users, with the chance of users, items and seeds."""
        pairs = self.pairs
        gain, shares = contributions(pairs.lists, self.ranks[new, clicks], metric)
        other, _ = contributions(pairs.lists, self.ranks[old, clicks], metric)
        return compare(
            Cells(
                users=pairs.users,
                items=pairs.items,
                seeds=pairs.seeds,
                shares=shares,
                differences=gain - other,
            )
        )


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
    found: Chance
    p: float

    def __str__(self) -> str:
        if self.found.seeds < 2:
            return "one seed decides nothing"
        if self.p >= _LEVEL:
            return "no difference shown"
        return "better" if self.found.difference > 0 else "**worse**"


def _verdicts(study: Study, found: Findings) -> list[_Verdict]:
    single = [way.shown for way in study.ways if way.name != BOTH]
    both = [way.shown for way in study.ways if way.name == BOTH and single]
    cases = []
    for metric, label, clicks in itertools.product(METRICS, both, study.clicks):
        best = max(single, key=lambda other: found.spread(other, clicks, metric, "validation").mean)
        cases.append((label, metric, clicks, best, found.compared(label, best, clicks, metric)))
    adjusted = holm([case[-1].p for case in cases]).tolist()
    return [_Verdict(*case, p) for case, p in zip(cases, adjusted, strict=True)]


def _against(verdicts: list[_Verdict], metric: str) -> list[str]:
    """Returns how each way that reads both does against the best that does not, by clicks."""
    lines: list[str] = []
    for label in dict.fromkeys(each.label for each in verdicts):
        lines += [
            f"`{label}` against the other way that is best on validation, at each number of clicks (cluster bootstrap",
            f"over users, items and seeds; p by Holm's method over all {len(verdicts)} of this page; 80 %: the smallest",
            "difference that would have been shown with that probability):",
            "",
            "| clicks | best other | difference | 95 % | p | 80 % | |",
            "|--:|---|--:|--:|--:|--:|---|",
            *(
                f"| {each.clicks} | {each.best} | {each.found.difference:+.4f} "
                f"| {' to '.join(f'{end:+.4f}' for end in each.found.interval())} | {each.p:.2g} "
                f"| {each.found.showable(len(verdicts)):.4f} | {each} |"
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
