"""Whether a training had the time that it needed: in a run's result, and in a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recommenders.benchmark.results import Chosen, ModelResults
    from recommenders.training_log import History


def facts(history: History | None, aim: str) -> dict[str, Any]:
    """Returns what `result.json` says of a scenario's training; nothing for a closed form.

    Args:
        history: The training log.
        aim: The scenario whose validation selects the step.
    """
    if history is None:
        return {}
    return {
        "best_step": history.bests[aim].step,
        "max_steps": history.budget,
        "not_converged": aim in history.not_converged,
    }


def not_converged(one: ModelResults, scenario: str) -> bool:
    """Returns whether the selected run of any seed was cut off; such a row decides nothing."""
    return any(_figures(run, scenario).get("not_converged", False) for run in one.chosen.values())


def shown(one: ModelResults, scenario: str) -> str:
    """Returns the cell of a table: the highest best step over seeds, and the budget."""
    found = [_figures(run, scenario) for run in one.chosen.values()]
    steps = [each["best_step"] for each in found if "best_step" in each]
    if not steps:
        return ""
    text = f"{max(steps):,} / {max(each['max_steps'] for each in found):,}"
    return f"{text} **not converged**" if not_converged(one, scenario) else text


def _figures(run: Chosen, scenario: str) -> dict[str, Any]:
    return dict(run.figures(scenario))
