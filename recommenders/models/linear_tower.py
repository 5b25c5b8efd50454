"""A user tower in closed form: predicts a new user's choices from a few clicks and a profile.

Folding in estimates the id embedding that training would have given a new user. This model is
fitted to the question that is asked online. It treats each training user as a new user, with a few
of their clicks and the profile that belongs to those, and fits by least squares a linear map from
both to the vector that finds the user's other choices. The weight of clicks against the profile
and against popularity is thereby learnt for each number of clicks. There is one map for each case,
so that clicks or a profile can stand alone, as in DropoutNet (Volkovs et al., NeurIPS 2017).
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
from recommenders.models.files import opened, write_folder
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
"""Number of clicks at which the shrunken mean is half of the mean."""
_CASES = ("none", "clicks", "profile", "both")


class LinearTowerConfig(ModelConfig):
    """Options of the linear tower.

    Attributes:
        variant: `base` reads clicks only, `augmented` also users' profiles.
        factors: Number of singular vectors of the interactions, at most; see `leading_factors`.
        regularisation: Penalty on the weights of clicks, as a multiple of each feature's mean
            square times the number of examples.
        profile_regularisation: Penalty on the weights of a profile, likewise.
        draws: How often each training user is an example, each time with other clicks.
        new_user_profiles: The profile of an example: `own`, the user's profile in the inputs,
            whichever clicks it was made from; or `items`, the mean of the profiles of the items
            that the example shows.
    """

    variant: Literal["base", "augmented"] = "base"
    factors: int = Field(256, ge=1)
    regularisation: float = Field(0.01, gt=0)
    profile_regularisation: float = Field(0.1, gt=0)
    draws: int = Field(10, ge=1)
    new_user_profiles: Literal["own", "items"] = "own"


class LinearTower:
    """Scores by the inner product of an item's singular vector with a linear map of the user.

    Attributes:
        config: The options.
        items: (n_items, d).
        maps: `none`, `clicks`, `profile` and `both` -> (features in that case, d).
        users: Vectors of training users, (n_users, d); zeros for others.
        warm: (n_users,), 1 for training users.
        profiles: The users' profiles, not standardised, (n_users, p); None if none are read.
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
            inputs: Interactions; with `augmented` also the users' profiles, and the items'
                profiles if `new_user_profiles` is `items`.
            config: The options.
            rng: Draws the clicks that each example shows.

        Raises:
            ModelError: The inputs lack what the options read, or there are no interactions, or
                no factors (`leading_factors`).
        """
        profiles = _profiles(inputs, config)
        warm = np.diff(inputs.train.indptr) > 0
        if not warm.any():
            raise ModelError("there are no training interactions to learn from")
        # Drawn even if it is not read, so that later draws do not depend on the size.
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
        """As in `ScoresNewUsers`."""
        check_new_users(known, len(self.items))
        return self.vectors(known, profiles) @ self.items.T

    def vectors(self, known: sparse.csr_array, profiles: Floats | None) -> Floats:
        """Returns new users' vectors, (rows, d); arguments as for `new_user_scores`."""
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
                features = _features(case, clicked[rows], counts[rows], read[rows])
                vectors[rows] = features @ self.maps[case]
        return vectors

    def terms(self) -> FactorTerms:
        """As in `HasTerms`; a known item adds its own vector to `pooled`."""
        new_user = NewUser.inputs()
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
        for case, features in towers.items():
            part = (features @ self.maps[case]) * gates[case]
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
        """Returns the features of clicks that `_features` computes, as a formula."""
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
        with opened(folder, cls.name) as (info, arrays):
            return cls(
                LinearTowerConfig.model_validate(info["config"]),
                items=arrays["items"],
                maps={case: arrays[f"map.{case}"] for case in _CASES if f"map.{case}" in arrays},
                users=arrays["users"],
                warm=arrays["warm"],
                profiles=arrays.get("profiles"),
            )


def _features(case: str, clicked: Floats, counts: NDArray[np.integer], read: Floats) -> Floats:
    """Returns the features of a map, (rows, features).

    Args:
        case: The map.
        clicked: Sum of the vectors of the known items, (rows, d).
        counts: Number of known items, (rows,).
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
    """Training users as examples of new users, and the least squares over them.

    One matrix has the features of `both`; those of the other maps are some of its columns.
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

        `none` is the mean of the users' targets. `both` is the map of clicks plus a correction,
        fitted by ridge regression to the residuals of that map.
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

        A row of F has the features of an example, a row of Y the sum of the vectors of the user's
        other choices; its weight is one over the square root of their number.
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
            features = _features(case, clicked, counts, self._read_of(few)).astype(np.float64)
            square = square + features.T @ (features * weights)
            wanted = wanted + features.T @ (target * weights)
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
    # A feature that is 0 in every example has a row of zeros, and gets weights of zero.
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
