"""A small data set with planted tastes, of the kind that real ones are: sparse, and with a long tail."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from recommenders.data.negatives import NegativeSampler
from recommenders.data.split import Part
from recommenders.evaluation import evaluate
from recommenders.models.base import Inputs
from recommenders.models.registry import build
from recommenders.negative_sampling import among_chosen
from recommenders.trainer import TrainerConfig, train

if TYPE_CHECKING:
    from collections.abc import Mapping

    from recommenders.models.base import Recommender
    from recommenders.training_log import History

USERS, ITEMS, TASTES = 120, 80, 4
METRIC = "ndcg@20"


@dataclass(frozen=True)
class Planted:
    """Inputs with a validation and a test part."""

    inputs: Inputs
    validation: Part
    test: Part

    def quality(self, model: Recommender, part: Part) -> float:
        """Returns NDCG@20."""
        return evaluate(model, part, cutoffs=(20,)).means()[METRIC]

    def trained(
        self, name: str, options: Mapping[str, Any], config: TrainerConfig
    ) -> tuple[Any, History]:
        """Builds and trains a model, and leaves it with what was best on validation."""
        rng = np.random.default_rng(1)
        model: Any = build(name, self.inputs, options, rng)
        draw = among_chosen(self.inputs.train, lambda matrix: NegativeSampler(matrix).draw)
        history = train(
            model,
            config,
            draw=draw,
            rng=rng,
            validate=lambda model: self.quality(model, self.validation),
        )
        return model, history


def planted(seed: int = 0) -> Planted:
    """Draws for each user 16 items, by taste and popularity: 12 to train on, 2 for each part."""
    rng = np.random.default_rng(seed)
    users, items = rng.standard_normal((USERS, TASTES)), rng.standard_normal((ITEMS, TASTES))
    popularity = rng.standard_normal(ITEMS)
    # The items with the highest Gumbel-perturbed scores are a draw without replacement.
    wanted = 1.5 * users @ items.T + popularity + rng.gumbel(size=(USERS, ITEMS))
    chosen = np.argsort(-wanted, axis=1)[:, :16]
    chosen = rng.permuted(chosen, axis=1)
    noise = rng.standard_normal((ITEMS, 12))
    text = np.concatenate([items, 0.5 * noise], axis=1).astype(np.float32)
    training, validation, test = (
        _matrix(chosen[:, part]) for part in (slice(0, 12), slice(12, 14), slice(14, 16))
    )
    return Planted(
        inputs=Inputs(train=training, text=text),
        validation=Part(known=training, relevant=validation),
        test=Part(known=training, relevant=test),
    )


def _matrix(chosen: np.ndarray) -> sparse.csr_array:
    dense = np.zeros((USERS, ITEMS), np.float32)
    np.put_along_axis(dense, chosen, 1, axis=1)
    return sparse.csr_array(dense)
