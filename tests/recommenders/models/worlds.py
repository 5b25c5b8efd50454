"""Tiny worlds in which it is plain what should be recommended, and training that suits them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from recommenders.models.base import Inputs
from recommenders.models.registry import MODELS, build
from recommenders.negative_sampling import among_chosen
from recommenders.trainer import TrainerConfig, train

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from recommenders.models.base import Recommender

WIDTH = 12
STYLE = 4
"""How loud a vector speaks of what nobody's choice depends on."""

TRAINING = TrainerConfig(max_steps=80, batch_size=128, learning_rate=0.02)


@dataclass(frozen=True)
class World:
    """Users and items in blocks: a user chooses items of their own block alone.

    Attributes:
        inputs: What is learnt from; in text and profiles a block's vector is soft beside that of
            a style, which has nothing to do with blocks.
        user_blocks: Block of each user.
        item_blocks: Block of each item.
        withheld: For each warm user, an item of their block that is not in training; else -1.
        cold_items: Rows of items that nobody chose.
        cold_users: Rows of users who chose nothing.
    """

    inputs: Inputs
    user_blocks: NDArray[np.int64]
    item_blocks: NDArray[np.int64]
    withheld: NDArray[np.int64]
    cold_items: NDArray[np.int64]
    cold_users: NDArray[np.int64]

    def known(self, users: NDArray[np.int64], *, shown: int = 3) -> sparse.csr_array:
        """Returns training rows, and for a cold user the first warm items of their block."""
        dense = self.inputs.train[users].toarray()
        warm = np.setdiff1d(np.arange(len(self.item_blocks)), self.cold_items)
        for place, user in enumerate(users):
            if user in self.cold_users:
                mine = warm[self.item_blocks[warm] == self.user_blocks[user]]
                dense[place, mine[:shown]] = 1
        return sparse.csr_array(dense)


def world(*, blocks: int, cold_items: int, cold_users: int, seed: int = 0) -> World:
    """Makes a world of blocks with 8 warm items and 8 warm users each, besides the cold ones."""
    rng = np.random.default_rng(seed)
    items_each, users_each = 8 + cold_items, 8 + cold_users
    item_blocks = np.repeat(np.arange(blocks), items_each)
    user_blocks = np.repeat(np.arange(blocks), users_each)
    likes = (user_blocks[:, None] == item_blocks).astype(np.float32)
    place = np.arange(len(item_blocks)) % items_each
    user_place = np.arange(len(user_blocks)) % users_each
    likes[:, place >= 8] = 0
    likes[user_place >= 8] = 0
    warm = user_place < 8
    withheld = np.where(warm, user_blocks * items_each + user_place % 8, -1)
    likes[np.flatnonzero(warm), withheld[warm]] = 0
    centres, styles = rng.standard_normal((blocks, WIDTH)), rng.standard_normal((4, WIDTH))

    def vectors(of: NDArray[np.int64]) -> NDArray[np.float32]:
        noise = 0.2 * rng.standard_normal((len(of), WIDTH))
        loud = STYLE * styles[rng.integers(0, len(styles), len(of))]
        return np.concatenate([centres[of] + noise, loud], axis=1).astype(np.float32)

    return World(
        inputs=Inputs(
            train=sparse.csr_array(likes),
            text=vectors(item_blocks),
            item_profiles=vectors(item_blocks),
            user_profiles=vectors(user_blocks),
        ),
        user_blocks=user_blocks,
        item_blocks=item_blocks,
        withheld=withheld,
        cold_items=np.flatnonzero(place >= 8),
        cold_users=np.flatnonzero(~warm),
    )


class ExactNegatives:
    """Draws what a user did not choose from a dense table; only for worlds as small as these."""

    def __init__(self, train: sparse.csr_array) -> None:
        self._free = train.toarray() == 0

    def draw(self, users: NDArray[np.integer], rng: np.random.Generator) -> NDArray[np.int64]:
        """Returns an item row for each user."""
        chances = rng.random((len(users), self._free.shape[1])) * self._free[users]
        return chances.argmax(axis=1).astype(np.int64)


def fitted(
    name: str,
    inputs: Inputs,
    options: Mapping[str, Any],
    *,
    seed: int = 1,
    training: TrainerConfig = TRAINING,
) -> Recommender:
    """Builds and, if need be, trains a model."""
    rng = np.random.default_rng(seed)
    model: Any = build(name, inputs, options, rng)
    if MODELS[name].trained:
        draw = among_chosen(inputs.train, lambda matrix: ExactNegatives(matrix).draw)
        train(model, training, draw=draw, rng=rng)
    return model
