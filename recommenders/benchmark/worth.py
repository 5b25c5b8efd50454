"""What a profile is worth beyond what is known without it, and the verdict on it.

The marginal worth of profiles for a model is its figure with profiles less that of the best row
without: the best control, or the base variant. Which is best is chosen on validation; the
difference is measured on the test part, with its chance over users, items and seeds
(`recommenders.crossed`), and p-values are adjusted for all comparisons of a table.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from recommenders.benchmark.controls import WORDS
from recommenders.benchmark.convergence import not_converged
from recommenders.benchmark.ranks import cells
from recommenders.benchmark.results import is_better
from recommenders.crossed import compare
from recommenders.significance import holm

if TYPE_CHECKING:
    from collections.abc import Sequence

    from recommenders.benchmark.results import ModelResults
    from recommenders.crossed import Chance

LEVEL = 0.05

WORTH, HARM, NOTHING = "worth", "**harm**", "nothing shown"
ONE_SEED, UNCONTROLLED = "one seed decides nothing", "no control, no verdict"
CUT_OFF = "not converged"


@dataclass(frozen=True, kw_only=True, slots=True)
class Worth:
    """What profiles are worth for a model in a scenario.

    Attributes:
        name: The row with profiles.
        best: What is best without profiles on validation, in words; None if there is no such row.
        over_text: The row with profiles less the same model on texts (the control `text`, or else
            the base variant); None if there is neither.
        marginal: The row with profiles less the best row without; None if there is none.
        gated: What the gate makes of it, less texts: for each seed the row with profiles where it is
            better than the row of texts by two standard errors on validation, else that row.
        placebo: The same with shuffled profiles, whose control is gated likewise; None without.
        newer: The same as `marginal` for items newer than the writer's knowledge; None if there are
            none, or nobody knows.
        p: The p-value of `marginal`, adjusted for all comparisons of the table.
        p_over_text: That of `over_text`, likewise.
        tests: Number of comparisons of the table.
        controlled: Whether any control is among the rows without profiles.
        cut_off: Whether a training of the row, or of a row without profiles, has not converged.
    """

    name: str
    best: str | None
    over_text: Chance | None
    marginal: Chance | None
    gated: Chance | None
    placebo: Chance | None
    newer: Chance | None
    p: float
    p_over_text: float
    tests: int
    controlled: bool
    cut_off: bool

    @property
    def verdict(self) -> str:
        """`worth`, `explained by ...`, `nothing shown` or `harm`; or why there is no verdict.

        Profiles are worth something if they are better than the best row without them. A gain over
        texts that is not one over the best control is explained by that control.
        """
        if self.marginal is None or not self.controlled:
            return UNCONTROLLED
        if self.cut_off:
            return CUT_OFF
        if self.marginal.seeds < 2:
            return ONE_SEED
        over = self.over_text
        if self.p < LEVEL and self.marginal.difference > 0:
            return WORTH
        if over is not None and self.p_over_text < LEVEL:
            return HARM if over.difference < 0 else f"explained by {self.best}"
        return NOTHING


@dataclass(frozen=True, slots=True)
class Gain:
    """The difference of two rows of a table.

    Attributes:
        name: The names of the rows.
        chance: The first minus the second, with its error.
        p: The p-value, adjusted for all such differences of the table (Holm).
        tests: How many those are.
        cut_off: Whether a training of one of the rows has not converged.
    """

    name: str
    chance: Chance
    p: float
    tests: int
    cut_off: bool


def worths(results: Sequence[ModelResults], scenario: str, metric: str) -> list[Worth]:
    """Returns what profiles are worth for each row that reads them.

    Args:
        results: All rows of the table.
        scenario: The scenario.
        metric: `ndcg` or `recall` with a cut-off; it also chooses the best control on validation.
    """
    found = []
    for one in results:
        if one.variant != "augmented" or one.control is not None:
            continue
        others = _without_profiles(one, results)
        text = next((other for other in others if other.control == "text"), None)
        text = text or next((other for other in others if other.control is None), None)
        best = max(
            others,
            key=lambda other: other.spread(scenario, metric, part="validation").mean,
            default=None,
        )
        found.append((one, others, text, best))
    measured = [
        (
            None if text is None else difference(one, text, scenario, metric),
            None if best is None else difference(one, best, scenario, metric),
        )
        for one, _, text, best in found
    ]
    flat = [chance.p for pair in measured for chance in pair if chance is not None]
    adjusted = iter(holm(flat).tolist())
    result = []
    for (one, others, text, best), pair in zip(found, measured, strict=True):
        shuffled = next((other for other in others if other.control == "shuffled"), None)
        p_over_text, p = (1.0 if chance is None else next(adjusted) for chance in pair)
        result.append(
            Worth(
                name=one.label,
                best=None if best is None else _words(best),
                over_text=pair[0],
                marginal=pair[1],
                gated=_gated_over(one, text, scenario, metric),
                placebo=_gated_over(shuffled, text, scenario, metric),
                newer=None if best is None else difference(one, best, scenario, metric, newer=True),
                p=p,
                p_over_text=p_over_text,
                tests=len(flat),
                controlled=any(other.control is not None for other in others),
                cut_off=any(not_converged(row, scenario) for row in (one, *others)),
            )
        )
    return result


def difference(
    new: ModelResults, old: ModelResults, scenario: str, metric: str, *, newer: bool = False
) -> Chance | None:
    """Returns the difference of two rows on the test part; None if they have too few pairs in common."""
    pairs = cells(
        {seed: run.ranks(scenario) for seed, run in new.chosen.items()},
        {seed: run.ranks(scenario) for seed, run in old.chosen.items()},
        metric,
        newer=newer,
    )
    if pairs is None or pairs.users.max() < 1:
        return None
    return compare(pairs)


def gains(results: Sequence[ModelResults], scenario: str, metric: str) -> list[Gain]:
    """Compares each row that has an `against` with that row."""
    by_label = {one.label: one for one in results}
    found = [
        (
            f"{one.label}, against {other.label}",
            chance,
            not_converged(one, scenario) or not_converged(other, scenario),
        )
        for one in results
        if one.against is not None
        and (other := by_label.get(one.against)) is not None
        and (chance := difference(one, other, scenario, metric)) is not None
    ]
    adjusted = holm([chance.p for _, chance, _ in found]).tolist()
    return [
        Gain(name, chance, p, len(found), cut_off)
        for (name, chance, cut_off), p in zip(found, adjusted, strict=True)
    ]


def gated(one: ModelResults, text: ModelResults, scenario: str, metric: str) -> ModelResults:
    """Returns a row that falls back to another where validation does not show that it is better."""
    chosen = {
        seed: run
        if seed not in text.chosen
        or is_better(
            run.ranks(scenario, "validation"),
            text.chosen[seed].ranks(scenario, "validation"),
            metric,
        )
        else text.chosen[seed]
        for seed, run in one.chosen.items()
    }
    return replace(one, chosen=chosen)


def _gated_over(
    one: ModelResults | None, text: ModelResults | None, scenario: str, metric: str
) -> Chance | None:
    if one is None or text is None:
        return None
    return difference(gated(one, text, scenario, metric), text, scenario, metric)


def _without_profiles(one: ModelResults, results: Sequence[ModelResults]) -> list[ModelResults]:
    """Returns the controls of a row, and the base variants of its model."""
    return [
        other
        for other in results
        if other.of == one.label
        or (other.model == one.model and other.variant == "base" and other.control is None)
    ]


def _words(row: ModelResults) -> str:
    return row.label if row.control is None else WORDS[row.control]
