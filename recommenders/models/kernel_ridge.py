"""Kernel ridge regression on items' descriptions: the simplest model for new items."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np
from pydantic import Field

from recommenders.models.dense import refuse_beyond
from recommenders.models.item_weights import ItemWeights, WeightsConfig, warm_items
from recommenders.models.kernels import Kernel, Variant

if TYPE_CHECKING:
    from recommenders.models.base import Inputs


class KernelRidgeConfig(WeightsConfig):
    """Options of kernel ridge regression.

    Attributes:
        variant: `base` reads items' text only, `augmented` also their profiles.
        profile_weight: The weight of profiles beside texts in the kernel, with `augmented`. A grid
            tries several, 0 among them, and takes the best on validation.
        regularisation: Added to the diagonal of the kernel, which is 1.
        max_gib: Limit on the memory of the matrices of items x items.
    """

    variant: Variant = "base"
    profile_weight: float = Field(0.5, ge=0, le=1)
    regularisation: float = Field(10.0, gt=0)
    max_gib: float = Field(8.0, gt=0)


class KernelRidge(ItemWeights):
    """S = X_w (K_ww + lambda I)^-1 K_wa, from warm items w to all items a.

    A user's interactions with warm items are regressed on the items' descriptions; K is the weighted
    cosine of their descriptions.
    """

    name = "kernel_ridge"
    config_type = KernelRidgeConfig

    @classmethod
    def fit(cls, inputs: Inputs, config: KernelRidgeConfig) -> Self:
        """Solves for the weights.

        Args:
            inputs: Interactions, and the words or vectors of texts and profiles.
            config: The options.

        Raises:
            ModelError: It would take more memory than allowed, or there are no interactions.
        """
        kernel = Kernel.of(inputs, config.variant, config.profile_weight)
        rows, everything = warm_items(inputs.train), np.arange(inputs.n_items)
        values = len(rows) * (len(rows) + 2 * inputs.n_items)
        refuse_beyond(config.max_gib, values, f"kernel ridge regression on {len(rows)} items")
        weights = kernel.regression(rows, everything, config.regularisation)
        return cls.from_weights(config, inputs.train, rows, weights)
