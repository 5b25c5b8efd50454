"""A user tower in closed form: from a few clicks and a profile to what somebody chooses next.

Folding in asks which id training would have given a stranger, had it known them. Here the question
is the one that is asked online: users of training are made strangers, with a few of their clicks
and the profile that those would give, and the vector that finds the rest of what they chose is a
linear map of both, by least squares. How much clicks count beside a profile, and beside what
everybody chooses, is so learnt for each number of them; that the profile stands alone and so do the
clicks, as with DropoutNet (Volkovs et al., NeurIPS 2017), is a map of its own for each case.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import torch
from pydantic import Field
from scipy import linalg

from recommenders.models.base import ModelConfig, check_new_users, check_scoring
from recommenders.models.errors import ModelError
from recommenders.models.factors import leading_factors
from recommenders.models.files import read_folder, write_folder
from recommenders.models.folding import few_of_each
from recommenders.models.formulas import inverse, log, side_by_side
from recommenders.models.fusion import Scale
from recommenders.models.terms import FactorTerms, NewUser

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray
    from scipy import sparse

    from recommenders.models.base import Inputs
    from recommenders.models.factors import Factors
    from recommenders.models.formulas import Formula

    Floats = NDArray[np.float32]

_HALF = np.float32(10)
"""Clicks of which the mean counts half in the more careful of its two forms."""
_CASES = ("none", "clicks", "profile", "both")


class LinearTowerConfig(ModelConfig):
    """Options of the linear tower.

    Attributes:
        variant: `base` reads clicks alone; `augmented` users' profiles too.
        factors: Numbers in a vector: so many singular vectors of the interactions.
        regularisation: Of what is made of clicks, times the mean square of each number that is
            read, times the number of examples.
        profile_regularisation: Of what is made of a profile, likewise.
        draws: How often each user is made a stranger, with other clicks each time.
        new_user_profiles: What a profile is: `own`, what the inputs have of each user, whatever
            clicks it was made from; or `items`, the mean of the profiles of the items clicked on,
            of which those who are made strangers have few.
    """

    variant: Literal["base", "augmented"] = "base"
    factors: int = Field(256, ge=1)
    regularisation: float = Field(0.01, gt=0)
    profile_regularisation: float = Field(0.1, gt=0)
    draws: int = Field(10, ge=1)
    new_user_profiles: Literal["own", "items"] = "own"


class LinearTower:
    """Scores by inner product of the items' singular vectors with a linear map of a user.

    Attributes:
        config: Its options.
        items: (n_items, d).
        maps: `none`, `clicks`, `profile` and `both` -> (numbers that are read then, d).
        users: (n_users, d), of training users; zeros of others.
        warm: (n_users,), 1 for training users.
        profiles: The users' profiles as they are, (n_users, p), or None where none are read.
    """

    name = "linear_tower"
    config_type = LinearTowerConfig

    def __init__(
        self,
        config: LinearTowerConfig,
        *,
        items: Floats,
        maps: Mapping[str, Floats],
        users: Floats,
        warm: NDArray[np.int64],
        profiles: Floats | None,
    ) -> None:
        self.config, self.items, self.maps = config, items, maps
        self.users, self.warm, self.profiles = users, warm, profiles
        self._scale = Scale.of(profiles)

    @classmethod
    def fit(cls, inputs: Inputs, config: LinearTowerConfig, rng: np.random.Generator) -> Self:
        """Solves for the maps.

        Args:
            inputs: Interactions, and with `augmented` the users' profiles, and the items' where
                those are made of them.
            config: The options.
            rng: Which clicks are told of those who are made strangers.

        Raises:
            ModelError: What is to be read is not among the inputs, or nothing is there to learn.
        """
        profiles = _profiles(inputs, config)
        warm = np.diff(inputs.train.indptr) > 0
        if not warm.any():
            raise ModelError("there are no training interactions to learn from")
        # Drawn even if it is not read, so that what is drawn next does not depend on the size.
        start = rng.standard_normal(min(inputs.train.shape))
        factors = leading_factors(inputs.train, config.factors, start)
        items = factors.vectors
        model = cls(
            config,
            items=items,
            maps=_Examples(inputs, config, factors, profiles).maps(rng),
            users=np.zeros((inputs.n_users, items.shape[1]), np.float32),
            warm=warm.astype(np.int64),
            profiles=profiles,
        )
        rows = np.flatnonzero(warm)
        own = None if profiles is None else profiles[rows]
        model.users[rows] = model.vectors(inputs.train[rows], own)
        return model

    def scores(self, users: NDArray[np.int64], known: sparse.csr_array) -> Floats:
        """As in `Recommender`."""
        check_scoring(users, known, len(self.users), len(self.items))
        vectors = self.users[users]
        cold = np.flatnonzero(self.warm[users] == 0)
        if cold.size:
            own = None if self.profiles is None else self.profiles[users[cold]]
            vectors[cold] = self.vectors(known[cold], own)
        return vectors @ self.items.T

    def new_user_scores(self, known: sparse.csr_array, profiles: Floats | None = None) -> Floats:
        """As in `ScoresStrangers`."""
        check_new_users(known, len(self.items))
        return self.vectors(known, profiles) @ self.items.T

    def vectors(self, known: sparse.csr_array, profiles: Floats | None) -> Floats:
        """Returns strangers' vectors, (rows, d); arguments as `new_user_scores`."""
        read = np.zeros((known.shape[0], 0), np.float32)
        there = np.zeros(known.shape[0], np.bool_)
        if self.profiles is not None and profiles is not None:
            shape = known.shape[0], self.profiles.shape[1]
            read = self._scale.of_new_users(profiles, shape).numpy()
            there = np.asarray(profiles.any(axis=1))
        clicked, counts = known @ self.items, np.diff(known.indptr)
        vectors = np.zeros((known.shape[0], self.items.shape[1]), np.float32)
        for case in self.maps:
            rows = np.flatnonzero(
                ((counts > 0) == (case in {"clicks", "both"}))
                & (there == (case in {"profile", "both"}))
            )
            if rows.size:
                told = _told(case, clicked[rows], counts[rows], read[rows])
                vectors[rows] = told @ self.maps[case]
        return vectors

    def terms(self) -> FactorTerms:
        """As in `HasTerms`; a past item adds its own vector."""
        new_user = NewUser.asked()
        some = new_user.count.at_most(1)
        towers = {"none": some * 0 + 1, "clicks": self._of_clicks(new_user)}
        if self.profiles is not None:
            read = self._scale.formula(new_user)
            beside = read / (new_user.count + 1)
            towers["profile"] = side_by_side(read, some * 0 + 1)
            towers["both"] = side_by_side(self._of_clicks(new_user), read, beside)
        gates = {"none": (some * -1 + 1), "clicks": some}
        if self.profiles is not None:
            has = new_user.has_profile
            gates = {
                "none": gates["none"] * (has * -1 + 1),
                "clicks": gates["clicks"] * (has * -1 + 1),
                "profile": gates["none"] * has,
                "both": some * has,
            }
        vector: Formula | None = None
        for case, told in towers.items():
            part = (told @ self.maps[case]) * gates[case]
            vector = part if vector is None else vector + part
        assert vector is not None  # noqa: S101 - there are two cases at least
        return FactorTerms(
            item_vectors=self.items,
            item_bias=np.zeros(len(self.items), np.float32),
            history_vectors=self.items,
            user_vectors=self.users,
            tower=vector,
            profile_dimension=0 if self.profiles is None else self.profiles.shape[1],
        )

    @staticmethod
    def _of_clicks(new_user: NewUser) -> Formula:
        """Returns what `_told` makes of clicks as a formula."""
        count, pooled = new_user.count, new_user.pooled
        mean, careful = pooled / count.at_least(1), pooled / (count + float(_HALF))
        return side_by_side(mean, careful, inverse(count + 1), log(count + 1), count * 0 + 1)

    def save(self, folder: Path) -> None:
        """As in `Recommender`."""
        arrays: dict[str, NDArray[Any]] = {
            "items": self.items,
            "users": self.users,
            "warm": self.warm,
            **{f"map.{case}": values for case, values in self.maps.items()},
        }
        if self.profiles is not None:
            arrays["profiles"] = self.profiles
        info = {"name": self.name, "config": self.config.model_dump()}
        write_folder(folder, info, arrays)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """As in `Recommender`."""
        info, arrays = read_folder(folder)
        if info.get("name") != cls.name:
            raise ModelError(f"{folder} holds {info.get('name')!r}, not {cls.name!r}")
        try:
            return cls(
                LinearTowerConfig.model_validate(info["config"]),
                items=arrays["items"],
                maps={case: arrays[f"map.{case}"] for case in _CASES if f"map.{case}" in arrays},
                users=arrays["users"],
                warm=arrays["warm"],
                profiles=arrays.get("profiles"),
            )
        except (KeyError, ValueError, TypeError) as error:
            raise ModelError(f"{folder} does not hold a whole {cls.name}: {error}") from error


def _told(case: str, clicked: Floats, counts: NDArray[np.integer], read: Floats) -> Floats:
    """Returns the numbers that a map reads, (rows, some width).

    Args:
        case: Which map.
        clicked: Sum of the vectors of the known items, (rows, d).
        counts: How many they are, (rows,).
        read: Standardised profiles, (rows, p).
    """
    n = counts.astype(np.float32)[:, None]
    one = np.ones_like(n)
    parts: list[NDArray[np.floating[Any]]] = []
    if case in {"clicks", "both"}:
        parts += [clicked / np.maximum(n, 1), clicked / (n + _HALF)]
        parts += [np.reciprocal(n + 1), np.log(n + 1), one]
    if case in {"profile", "both"}:
        parts.append(read)
    if case == "both":
        parts.append(read / (n + 1))
    if case in {"none", "profile"}:
        parts.append(one)
    together: Floats = np.concatenate(parts, axis=1, dtype=np.float32)
    return together


class _Examples:
    """Users of training as strangers, and the least squares over them.

    One matrix has the numbers that `both` reads; what the other maps read are columns of it.
    """

    def __init__(
        self, inputs: Inputs, config: LinearTowerConfig, factors: Factors, profiles: Floats | None
    ) -> None:
        items = factors.vectors
        self._factors = factors
        rows = np.flatnonzero(np.diff(inputs.train.indptr))
        self._train, self._config, self._items = inputs.train[rows], config, items
        self._own = None if profiles is None else profiles[rows]
        self._scale = Scale.of(profiles)
        self._item_profiles = inputs.item_profiles
        size, width = items.shape[1], 0 if profiles is None else profiles.shape[1]
        clicks, constant = np.arange(2 * size + 3), np.array([2 * size + 2])
        read = clicks[-1] + 1 + np.arange(2 * width)
        self._columns = {"clicks": clicks}
        if width:
            self._columns["profile"] = np.concatenate([read[:width], constant])
            self._columns["both"] = np.concatenate([clicks, read])
        self._constant, self._read = constant, read

    def maps(self, rng: np.random.Generator) -> dict[str, Floats]:
        """Returns the map of each case.

        With nothing it is the mean of what users chose. With both it is that of clicks and a
        correction, by ridge regression on what that one leaves over.
        """
        square, wanted = self._sums(rng)
        scale = self._scales(square)
        penalty = scale * self._config.regularisation
        penalty[self._read] = scale[self._read] * self._config.profile_regularisation
        penalty[self._constant] = 0
        everything = (self._train @ self._items) / np.sqrt(np.diff(self._train.indptr))[:, None]
        maps: dict[str, NDArray[np.float64]] = {"none": everything.mean(axis=0, keepdims=True)}
        for case in ("clicks", "profile"):
            if case in self._columns:
                maps[case] = _ridge(square, wanted, self._columns[case], penalty)
        if "both" in self._columns:
            clicks = self._columns["clicks"]
            left = wanted - square[:, clicks] @ maps["clicks"]
            more = scale * self._config.profile_regularisation
            maps["both"] = _ridge(square, left, self._columns["both"], more)
            maps["both"][: len(clicks)] += maps["clicks"]
        return {case: values.astype(np.float32) for case, values in maps.items()}

    def _scales(self, square: NDArray[np.float64]) -> NDArray[np.float64]:
        """Returns the sum of squares of each column, averaged over factors of one group.

        A penalty of its own for each of them would depend on how the group is rotated.
        """
        scales = np.diag(square).copy()
        size = len(self._factors.groups)
        for start in (0, size):
            columns = slice(start, start + size)
            scales[columns] = self._factors.averaged(scales[columns])
        return scales

    def _sums(self, rng: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Returns F'WF and F'WY over all draws.

        A row of F is what is told of a stranger, one of Y the sum of the vectors of all else that
        they chose; its weight is one over the root of how many those are.
        """
        generator = torch.Generator().manual_seed(int(rng.integers(2**63)))
        square: NDArray[np.float64] | float = 0.0
        wanted: NDArray[np.float64] | float = 0.0
        for _ in range(self._config.draws):
            few = few_of_each(self._train, generator)
            counts = np.diff(few.indptr)
            left = np.diff(self._train.indptr) - counts
            clicked = few @ self._items
            target = self._train @ self._items - clicked
            weights = np.where(left > 0, 1 / np.sqrt(np.maximum(left, 1)), 0)[:, None]
            case = "clicks" if self._own is None else "both"
            told = _told(case, clicked, counts, self._read_of(few)).astype(np.float64)
            square = square + told.T @ (told * weights)
            wanted = wanted + told.T @ (target * weights)
        return np.asarray(square), np.asarray(wanted)

    def _read_of(self, few: sparse.csr_array) -> Floats:
        if self._own is None:
            return np.zeros((few.shape[0], 0), np.float32)
        if self._config.new_user_profiles == "own" or self._item_profiles is None:
            return self._scale(self._own)
        sums = np.asarray(few @ self._item_profiles, np.float32)
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        return self._scale(sums / np.maximum(lengths, np.finfo(np.float32).tiny))


def _ridge(
    square: NDArray[np.float64],
    wanted: NDArray[np.float64],
    columns: NDArray[np.int64],
    penalty: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Returns the solution of (F'WF + diag(penalty)) M = F'WY for some columns of F."""
    left = square[np.ix_(columns, columns)] + np.diag(penalty[columns])
    # What is never told of anybody has a row of zeros, and gets a map of zeros.
    left[np.diag_indices_from(left)] += 1e-9 * max(1.0, float(np.trace(left)) / len(left))
    solution: NDArray[np.float64] = linalg.solve(left, wanted[columns], assume_a="pos")
    return solution


def _profiles(inputs: Inputs, config: LinearTowerConfig) -> Floats | None:
    if config.variant == "base":
        return None
    if inputs.user_profiles is None:
        raise ModelError("variant 'augmented' needs profiles of users, and there are none")
    if config.new_user_profiles == "items":
        if inputs.item_profiles is None:
            raise ModelError("new_user_profiles 'items' needs profiles of items; take 'own'")
        if inputs.item_profiles.shape[1] != inputs.user_profiles.shape[1]:
            raise ModelError("profiles of users and items are of different lengths; take 'own'")
    return inputs.user_profiles
