"""EASE, extended to new items by their descriptions.

EASE has no weights for an item without interactions, and kernel ridge regression on raw
interactions learns from zeros that mostly mean "not seen". This model regresses EASE's weights on
descriptions instead: the column of a new item is predicted from its description. On cold items of
MovieLens-1M and CiteULike it found more than either of the two, at the cost of both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np
from pydantic import Field

from recommenders.models.dense import refuse_beyond
from recommenders.models.ease import ease_weights, spread
from recommenders.models.item_weights import ItemWeights, WeightsConfig, warm_items
from recommenders.models.kernels import Kernel, Variant

if TYPE_CHECKING:
    from recommenders.models.base import Inputs


class TextEASEConfig(WeightsConfig):
    """Options of EASE with text.

    Attributes:
        variant: As for kernel ridge regression.
        profile_weight: As for kernel ridge regression.
        regularisation: As for EASE.
        damping: As for EASE.
        text_regularisation: Added to the diagonal of the kernel, which is 1.
        max_gib: Limit on the memory of the matrices of items x items.
    """

    variant: Variant = "base"
    profile_weight: float = Field(0.5, ge=0, le=1)
    regularisation: float = Field(500.0, gt=0)
    damping: float = Field(0.0, ge=0)
    text_regularisation: float = Field(1.0, gt=0)
    max_gib: float = Field(8.0, gt=0)


class TextEASE(ItemWeights):
    """B_ww of EASE for warm items w, B_ww (K_ww + lambda I)^-1 K_wc for the others, c.

    Warm items have exactly EASE's scores.
    """

    name = "text_ease"
    config_type = TextEASEConfig

    @classmethod
    def fit(cls, inputs: Inputs, config: TextEASEConfig) -> Self:
        """Solves for the weights; arguments and errors as for `KernelRidge.fit`."""
        kernel = Kernel.of(inputs, config.variant, config.profile_weight)
        warm = warm_items(inputs.train)
        cold = np.setdiff1d(np.arange(inputs.n_items), warm)
        values = len(warm) * (len(warm) + 3 * len(cold) + inputs.n_items)
        refuse_beyond(config.max_gib, values, f"EASE with text of {len(warm)} items")
        regression = kernel.regression(warm, cold, config.text_regularisation)
        solved = ease_weights(
            inputs.train[:, warm], regularisation=config.regularisation, damping=config.damping
        )
        weights = spread(solved, warm, inputs.n_items)
        if cold.size:
            weights[:, cold] = solved @ regression
        return cls.from_weights(config, inputs.train, warm, weights)
