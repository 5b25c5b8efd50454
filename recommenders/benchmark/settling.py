"""Chooses on validation how much a trained model's profiles count.

A gate is trained on interactions of the training part. Where profiles say nothing of new items, or
where a model has learnt shuffled profiles by heart as if they were ids, only a part that training
has not seen can tell.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from recommenders import metrics
from recommenders.benchmark.ranks import contributions, ranks_of
from recommenders.crossed import Cells, numbered, standard_error
from recommenders.evaluation import evaluate

if TYPE_CHECKING:
    from recommenders.data.split import Part
    from recommenders.evaluation import Evaluation

SUMS = frozenset({"ndcg", "recall"})
"""Metrics that are sums over relevant items, whose standard error is known."""


CLEARLY = 2
"""Standard errors by which profiles have to be better than none on validation, to be read at all."""


def settle(model: Any, part: Part, metric: str) -> float | None:  # noqa: ANN401 - any model of the registry
    """Sets the scale of a model's profiles to the best on a part.

    A scale other than 0 has to be better than 0 by more than `CLEARLY` standard errors over users and
    items.

    Args:
        model: A trained model.
        part: The validation part.
        metric: The metric that chooses, with its cut-off.

    Returns:
        The scale; None for a model without a gate, which stays as it is.
    """
    scales: tuple[float, ...] = getattr(model, "profile_scales", ())
    if not scales:
        return None
    cutoff = metrics.cutoff_of(metric)
    found: dict[float, Evaluation] = {}
    for scale in scales:
        model.set_profile_scale(scale)
        found[scale] = evaluate(model, part, cutoffs=[cutoff])
    best = max(scales, key=lambda scale: float(found[scale].values[metric].mean()))
    if best != 0 and not is_better(found[best], found[0.0], part, metric):
        best = 0.0
    model.set_profile_scale(best)
    return best


def is_better(new: Evaluation, old: Evaluation, part: Part, metric: str) -> bool:
    """Returns whether a model is better than another on a part by more than `CLEARLY` errors."""
    if metric.partition("@")[0] not in SUMS:
        return bool(new.values[metric].mean() > old.values[metric].mean())
    cells = cells_of(new, old, part, metric)
    return float(cells.differences.sum()) > CLEARLY * standard_error(cells) * float(
        cells.shares.sum()
    )


def cells_of(new: Evaluation, old: Evaluation, part: Part, metric: str) -> Cells:
    """Returns the differences of two evaluations of a part."""
    users, items, ranks = ranks_of(new, part)
    people = numbered(users)
    gain, shares = contributions(people, ranks, metric)
    return Cells(
        users=people,
        items=numbered(items),
        seeds=np.zeros(len(people), np.int64),
        shares=shares,
        differences=gain - contributions(people, ranks_of(old, part)[2], metric)[0],
    )
