"""Baselines without training: popularity, and random scores. Every table has them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np

from recommenders.models.base import ModelConfig, check_new_users, check_scoring
from recommenders.models.files import opened, write_folder
from recommenders.models.terms import FactorTerms, NewUser
from recommenders.tie_breaking import draw

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from scipy import sparse

    from recommenders.models.base import Inputs


class NoConfig(ModelConfig):
    """A model without options."""


class Popularity:
    """An item's score is the number of its training interactions.

    Attributes:
        counts: (n_items,), float32.
    """

    name = "popularity"
    config_type = NoConfig

    def __init__(self, *, n_users: int, counts: NDArray[np.float32]) -> None:
        self.counts = counts
        self._n_users = n_users

    @classmethod
    def fit(cls, inputs: Inputs, config: NoConfig) -> Self:
        """Counts the training interactions."""
        del config
        counts = np.bincount(inputs.train.indices, minlength=inputs.n_items)
        return cls(n_users=inputs.n_users, counts=counts.astype(np.float32))

    def scores(self, users: NDArray[np.int64], known: sparse.csr_array) -> NDArray[np.float32]:
        """As in `Recommender`: the same for everybody."""
        check_scoring(users, known, self._n_users, len(self.counts))
        return self.new_user_scores(known)

    def new_user_scores(
        self,
        known: sparse.csr_array,
        profiles: NDArray[np.float32] | None = None,  # noqa: ARG002 - the protocol's; not read
    ) -> NDArray[np.float32]:
        """As in `ScoresNewUsers`: the same for everybody."""
        check_new_users(known, len(self.counts))
        return np.tile(self.counts, (known.shape[0], 1))

    def terms(self) -> FactorTerms:
        """As in `HasTerms`: a score is the item's bias."""
        nothing = np.zeros((len(self.counts), 1), np.float32)
        return FactorTerms(
            item_vectors=nothing,
            item_bias=self.counts,
            history_vectors=nothing,
            user_vectors=np.zeros((self._n_users, 1), np.float32),
            tower=NewUser.inputs().count * 0,
        )

    def save(self, folder: Path) -> None:
        """As in `Recommender`."""
        info = {"name": self.name, "config": {}, "n_users": self._n_users}
        write_folder(folder, info, {"counts": self.counts})

    @classmethod
    def load(cls, folder: Path) -> Self:
        """As in `Recommender`."""
        with opened(folder, cls.name) as (info, arrays):
            return cls(n_users=int(info["n_users"]), counts=arrays["counts"])


class Random:
    """Random scores, determined by seed, user and item.

    Attributes:
        seed: Of the scores.
    """

    name = "random"
    config_type = NoConfig

    def __init__(self, *, n_users: int, n_items: int, seed: int) -> None:
        self.seed = seed
        self._shape = n_users, n_items

    @classmethod
    def fit(cls, inputs: Inputs, config: NoConfig, rng: np.random.Generator) -> Self:
        """Draws the seed."""
        del config
        seed = int(rng.integers(2**63))
        return cls(n_users=inputs.n_users, n_items=inputs.n_items, seed=seed)

    def scores(self, users: NDArray[np.int64], known: sparse.csr_array) -> NDArray[np.float32]:
        """As in `Recommender`: from 0 to 1."""
        check_scoring(users, known, *self._shape)
        draws = draw(self.seed, users[:, None], np.arange(self._shape[1])[None, :])
        return (draws >> np.uint64(40)).astype(np.float32) * np.float32(2**-24)

    def save(self, folder: Path) -> None:
        """As in `Recommender`."""
        info = {"name": self.name, "config": {}, "shape": self._shape, "seed": self.seed}
        write_folder(folder, info, {})

    @classmethod
    def load(cls, folder: Path) -> Self:
        """As in `Recommender`."""
        with opened(folder, cls.name) as (info, _):
            n_users, n_items = map(int, info["shape"])
            return cls(n_users=n_users, n_items=n_items, seed=int(info["seed"]))
