"""The interface of recommenders and their inputs; data and metrics know no more of models.

Users and items are row numbers. A recommender scores all items at once for a batch of users,
whether it is trained by gradient descent, solved in closed form or counts interactions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, Self

import numpy as np

from recommenders.models.errors import ModelError
from recommenders.renamed import StrictConfig

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from scipy import sparse


class Recommender(Protocol):
    """Scores items for users."""

    def scores(self, users: NDArray[np.int64], known: sparse.csr_array) -> NDArray[np.float32]:
        """Returns the score of each item for each user; higher is better.

        Args:
            users: User rows of the matrix that the model was built with.
            known: The known items of each of these users, CSR, (len(users), n_items), in the
                order of `users`. The model may use the row of a training user instead; other
                users are scored by their known items.

        Returns:
            (len(users), n_items), finite. Known items are scored like any others.

        Raises:
            ModelError: A shape does not fit, or a row is out of range.
        """
        ...

    def save(self, folder: Path) -> None:
        """Writes the model into a new folder atomically, as safetensors and JSON.

        Raises:
            ModelError: The folder exists and is not empty.
        """
        ...

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Reads a folder that `save` wrote; the scores are the same.

        Raises:
            ModelError: A file is missing or damaged, or holds another model.
        """
        ...


class ScoresNewUsers(Protocol):
    """Scores items for users who have no row in the training matrix, as a service does."""

    def new_user_scores(
        self, known: sparse.csr_array, profiles: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32]:
        """Returns the score of each item for each new user; higher is better.

        Args:
            known: The known items of each user, CSR, (rows, n_items); rows may be empty.
            profiles: The vectors of their profiles as an encoder returns them, (rows, p), zeros
                for a user without one. A model that reads no users' profiles ignores them.

        Returns:
            (rows, n_items), finite.

        Raises:
            ModelError: A shape does not fit.
        """
        ...


class ModelConfig(StrictConfig):
    """Options of a model; each default is written once, in the model's own file."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Inputs:
    """The training data of a model.

    Attributes:
        train: CSR of float32, (n_users, n_items), 1 for each pair; rows and columns may be empty.
        text: Vectors of the items' own text, float32, (n_items, t).
        item_profiles: Vectors of the items' profiles, float32, (n_items, p).
        user_profiles: Vectors of the users' profiles, float32, (n_users, p).
        text_words: Words of the items' own text, CSR of float32, (n_items, vocabulary).
        profile_words: Words of the items' profiles, likewise.

    The row of a user or item without text or profile is all zeros; None if nobody has one.
    """

    train: sparse.csr_array
    text: NDArray[np.float32] | None = None
    item_profiles: NDArray[np.float32] | None = None
    user_profiles: NDArray[np.float32] | None = None
    text_words: sparse.csr_array | None = None
    profile_words: sparse.csr_array | None = None

    def __post_init__(self) -> None:
        """Checks shapes, types and values.

        Raises:
            ModelError: One of them does not fit; the message names the attribute.
        """
        self._check("text", self.text, self.n_items)
        self._check("item_profiles", self.item_profiles, self.n_items)
        self._check("user_profiles", self.user_profiles, self.n_users)
        for name in ("text_words", "profile_words"):
            words = getattr(self, name)
            if words is not None and words.shape[0] != self.n_items:
                raise ModelError(f"{name} have {words.shape[0]} rows, for {self.n_items} items")

    @property
    def n_users(self) -> int:
        """Number of users, including those without training interactions."""
        return int(self.train.shape[0])

    @property
    def n_items(self) -> int:
        """Number of items, including those without training interactions."""
        return int(self.train.shape[1])

    def without_profiles(self) -> Inputs:
        """Returns the inputs without the profiles of users and items."""
        return Inputs(train=self.train, text=self.text, text_words=self.text_words)

    def _check(self, name: str, values: NDArray[np.float32] | None, rows: int) -> None:
        if values is None:
            return
        if values.ndim != 2 or len(values) != rows or not values.shape[1]:
            raise ModelError(f"{name} are of shape {values.shape}, not ({rows}, some width)")
        if values.dtype != np.float32:
            raise ModelError(f"{name} are {values.dtype}, not float32")
        wrong = np.flatnonzero(~np.isfinite(values).all(axis=1))
        if wrong.size:
            raise ModelError(f"{name}: row {wrong[0]} has a value that is not a finite number")


def check_new_users(known: sparse.csr_array, n_items: int) -> None:
    """Checks the arguments of `new_user_scores`.

    Raises:
        ModelError: The shape does not fit.
    """
    if known.shape[1] != n_items:
        raise ModelError(f"known is of shape {known.shape}, not (rows, {n_items})")


def check_scoring(
    users: NDArray[np.int64], known: sparse.csr_array, n_users: int, n_items: int
) -> None:
    """Checks the arguments of `scores`.

    Raises:
        ModelError: A shape does not fit, or a row is out of range.
    """
    if users.ndim != 1 or known.shape != (len(users), n_items):
        raise ModelError(
            f"users are of shape {users.shape}, so known must be (len(users), {n_items}),"
            f" not {known.shape}"
        )
    if len(users) and not (users.min() >= 0 and users.max() < n_users):
        raise ModelError(f"users must be rows from 0 to {n_users - 1}")
