"""First embeddings of users and items from ids, text and profiles, the same for all models.

As in RecLM (arXiv 2412.19302, and its code), an item has no id embedding: a small network computes
its embedding from its text, so that new items need no training. A user has an id embedding. The
augmented variant reads profiles with a second network, which users and items share. What it reads
is added through a gate that starts at 0 (`gates`), or is combined as in the paper by a layer, also
shared, over both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from pydantic import Field
from torch import nn
from torch.nn import functional

from recommenders.models.base import ModelConfig
from recommenders.models.errors import ModelError
from recommenders.models.formulas import layers, side_by_side, unit
from recommenders.models.gates import Gate

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from recommenders.models.base import Inputs
    from recommenders.models.formulas import Formula
    from recommenders.models.terms import NewUser


class FusionConfig(ModelConfig):
    """Options of first embeddings.

    Attributes:
        variant: `base` reads items' text only, `augmented` also profiles of users and items.
        items: The embedding of an item: from its `features`, as in the paper; its `ids` only, as
            in the original publications of the graph models; or the sum of `both`.
        embedding_size: Dimension of an embedding.
        fusion: How a profile is combined: `gated`, a sum in which the profile's part has a gate that
            starts at 0; `concat`, the paper's layer over both; or `add`, a sum without a gate.
        id_dropout: Probability that an item's id embedding is dropped in a training step, with
            `both`, so that features learn to stand alone.
        user_dropout: Probability that a user's id embedding is replaced in a training step by the
            one folded in from a few of their clicks; independently, the probability that the
            user's profile is dropped. So each learns to stand alone (DropoutNet, Volkovs et al.,
            NeurIPS 2017, section 4.2). 0 as in the paper.
        initial_deviation: Standard deviation of id embeddings before training.
        fold_in: Weight of a new user's clicks: the same for any number (`mean`), or growing with
            their number (`credible`; see `folding.FoldIn`).
    """

    variant: Literal["base", "augmented"] = "base"
    items: Literal["features", "ids", "both"] = "features"
    embedding_size: int = Field(32, ge=1)
    fusion: Literal["gated", "concat", "add"] = "gated"
    id_dropout: float = Field(0.5, ge=0, lt=1)
    user_dropout: float = Field(0.0, ge=0, lt=1)
    initial_deviation: float = Field(0.1, gt=0)
    fold_in: Literal["mean", "credible"] = "mean"


class Fusion(nn.Module):
    """First embeddings.

    The id embedding of a user or item without training interactions counts as zero, whatever the
    table holds, since it was not trained.

    Attributes:
        user_ids: (n_users, d).
        item_ids: (n_items, d), or None if items have features only.
        text_network: Reads an item's text, or None.
        profile_network: Reads the profile of an item or a user, or None.
        fuse: The layer over both, or None if they are added or there is only one.
        gate: The gates of profiles; None if they are combined without.
    """

    _text: Tensor | None
    _item_profiles: Tensor | None
    _user_profiles: Tensor | None

    def __init__(self, inputs: Inputs, config: FusionConfig, generator: torch.Generator) -> None:
        """Initialises the parameters.

        Raises:
            ModelError: The inputs lack what the configuration reads.
        """
        super().__init__()
        size, augmented = config.embedding_size, config.variant == "augmented"
        self._config = config
        of_items = config.items != "ids"
        text = inputs.text if of_items else None
        item_profiles = inputs.item_profiles if of_items and augmented else None
        user_profiles = inputs.user_profiles if augmented else None
        _check(inputs, config)

        deviation = config.initial_deviation
        self.user_ids = nn.Parameter(table((inputs.n_users, size), generator, deviation))
        self.item_ids = (
            None
            if config.items == "features"
            else nn.Parameter(table((inputs.n_items, size), generator, deviation))
        )
        self.text_network = None if text is None else network(text.shape[1], size, generator)
        width = profile_width(item_profiles, user_profiles)
        self.profile_network = None if width is None else network(width, size, generator)
        self.fuse = (
            nn.Sequential(linear(2 * size, size, generator), nn.ReLU())
            if width is not None and config.fusion == "concat"
            else None
        )
        self._clicks = np.diff(inputs.train.indptr)
        gated = width is not None and config.fusion == "gated"
        self.gate = Gate(self._clicks) if gated else None
        keep(self, "_text", text)
        keep(self, "_item_profiles", item_profiles)
        keep(self, "_user_profiles", user_profiles)
        self._scale = Scale.of(user_profiles)
        degrees = np.bincount(inputs.train.indices, minlength=inputs.n_items)
        warm_items = torch.from_numpy((degrees > 0).astype(np.float32))
        warm_users = torch.from_numpy((np.diff(inputs.train.indptr) > 0).astype(np.float32))
        self.register_buffer("_warm_items", warm_items[:, None], persistent=False)
        self.register_buffer("_warm_users", warm_users[:, None], persistent=False)

    @property
    def profile_dimension(self) -> int:
        """Dimension of a user's profile; 0 if none is read."""
        return 0 if self._user_profiles is None else int(self._user_profiles.shape[1])

    def users(
        self, generator: torch.Generator | None = None, stand_ins: Tensor | None = None
    ) -> Tensor:
        """Returns the first embeddings of all users, (n_users, d).

        Args:
            generator: Source of dropout in training; None for no dropout.
            stand_ins: Replacements for dropped id embeddings, (n_users, d).
        """
        ids = self.user_ids * self.get_buffer("_warm_users")
        profiles, dropout = self._user_profiles, self._config.user_dropout
        if generator is not None and stand_ins is not None and dropout:
            draws = torch.rand((len(ids), 2), generator=generator, device=ids.device) < dropout
            ids = torch.where(draws[:, :1], stand_ins, ids)
            profiles = None if profiles is None else profiles * ~draws[:, 1:]
        return self._fused_users(ids, profiles, self._clicks)

    def profiles_of(self, users: Tensor) -> Tensor | None:
        """Returns users' standardised profiles, (u, p), or None if none are read."""
        return None if self._user_profiles is None else self._user_profiles[users]

    def standardised(self, profiles: NDArray[np.float32] | None, users: int) -> Tensor | None:
        """Returns new users' standardised profiles, or None if none are read.

        Args:
            profiles: As an encoder returns them, (u, p), zeros for a user without one; None if
                no user has one.
            users: Number of users.

        Raises:
            ModelError: The shape does not fit.
        """
        if self._user_profiles is None:
            return None
        if profiles is None:
            return torch.zeros((users, self._user_profiles.shape[1])).to(self._user_profiles)
        return self._scale.of_new_users(profiles, (users, self._user_profiles.shape[1])).to(
            self._user_profiles.device
        )

    def folded(self, ids: Tensor, profiles: Tensor | None, clicks: NDArray[np.integer]) -> Tensor:
        """Returns the first embeddings of users with given id embeddings.

        Args:
            ids: (u, d).
            profiles: Their standardised profiles, (u, p); None if none are read.
            clicks: Number of their known items, (u,).
        """
        return self._fused_users(ids, profiles, clicks)

    def formula(self, ids: Formula, new_user: NewUser) -> Formula:
        """Returns the formula of `folded`, of an id embedding and a raw profile."""
        if self.profile_network is None or self._user_profiles is None:
            return ids
        read = unit(layers(self._scale.formula(new_user), self.profile_network))
        if self.gate is not None:
            return ids + read * self.gate.formula(new_user.count, new_user.has_profile)
        if self.fuse is None:
            return ids + read
        return layers(side_by_side(ids, read), self.fuse)

    def items(self, generator: torch.Generator | None = None) -> Tensor:
        """Returns the first embeddings of all items, (n_items, d).

        Args:
            generator: Source of dropout in training; None for no dropout.
        """
        parts = []
        features = self._features()
        if features is not None:
            parts.append(functional.normalize(features))
        if self.item_ids is not None:
            kept = self.get_buffer("_warm_items")
            dropout = self._config.id_dropout
            if generator is not None and features is not None and dropout:
                draws = torch.rand(kept.shape, generator=generator, device=kept.device)
                kept = kept * (draws >= dropout)
            parts.append(self.item_ids * kept)
        return parts[0] if len(parts) == 1 else parts[0] + parts[1]

    def _features(self) -> Tensor | None:
        text: Tensor | None = None
        if self.text_network is not None:
            text = self.text_network(self._text)
        if self.profile_network is None or self._item_profiles is None:
            return text
        profile: Tensor = self.profile_network(self._item_profiles)
        if text is None:
            return profile
        if self.gate is not None:
            # Of length 1 each, so that the gate alone says how much a profile counts.
            gated = functional.normalize(profile) * self.gate.items(self._item_profiles)
            return functional.normalize(text) + gated
        return self._fused(text, profile)

    def _fused_users(
        self, ids: Tensor, profiles: Tensor | None, clicks: NDArray[np.integer]
    ) -> Tensor:
        if self.profile_network is None or profiles is None:
            return ids
        read = functional.normalize(self.profile_network(profiles))
        if self.gate is not None:
            return ids + read * self.gate.users(profiles, clicks)
        return self._fused(ids, read)

    def _fused(self, before: Tensor, profile: Tensor) -> Tensor:
        if self.fuse is None:
            return before + profile
        fused: Tensor = self.fuse(torch.cat([before, profile], dim=1))
        return fused


def linear(
    inputs: int, outputs: int, generator: torch.Generator, *, bias: bool = True
) -> nn.Linear:
    """Returns a layer initialised as by torch (He et al., 2015), but from this generator."""
    layer: nn.Linear = nn.utils.skip_init(nn.Linear, inputs, outputs, bias=bias)  # type: ignore[no-untyped-call]
    bound = inputs**-0.5
    with torch.no_grad():
        layer.weight.uniform_(-bound, bound, generator=generator)
        if bias:
            layer.bias.uniform_(-bound, bound, generator=generator)
    return layer


def network(inputs: int, outputs: int, generator: torch.Generator) -> nn.Sequential:
    """Returns two linear layers with a ReLU between them."""
    first, second = linear(inputs, outputs, generator), linear(outputs, outputs, generator)
    return nn.Sequential(first, nn.ReLU(), second)


def table(shape: tuple[int, int], generator: torch.Generator, deviation: float) -> Tensor:
    """Returns id embeddings, initialised by default as in LightGCN's code.

    With smaller ones (Glorot's for tables of this length) contrastive models learn nothing for many
    epochs: as embeddings shrink, the gradient of a cosine grows and that of BPR shrinks.
    """
    return torch.empty(shape).normal_(std=deviation, generator=generator)


@dataclass(frozen=True, slots=True)
class Scale:
    """Standardises vectors: subtracts their mean and scales the mean square to 1.

    Encoders' vectors have a large common mean and small values, from which a network learns little.
    Rows of zeros, which stand for a missing vector, stay zeros: the average vector.

    Attributes:
        mean: (p,), float64; empty if there are no vectors.
        divisor: Root mean square of the differences from the mean.
    """

    mean: NDArray[np.float64]
    divisor: float

    @classmethod
    def of(cls, values: NDArray[np.float32] | None) -> Scale:
        """Computes it from vectors, (n, p)."""
        if values is None:
            return cls(np.zeros(0), 1.0)
        rows = values[np.asarray(values.any(axis=1))]
        if not len(rows):
            return cls(np.zeros(values.shape[1]), 1.0)
        mean = rows.mean(axis=0, dtype=np.float64)
        square = float(np.square(rows - mean).mean())
        return cls(mean, square**0.5 if square > 0 else 1.0)

    def __call__(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Returns the standardised vectors."""
        there = np.asarray(values.any(axis=1))
        scaled = np.where(there[:, None], values - self.mean, 0) / self.divisor
        return scaled.astype(np.float32)

    def formula(self, new_user: NewUser) -> Formula:
        """Returns the formula of a standardised profile; zeros for a user without one."""
        mean = self.mean.astype(np.float32)
        return (new_user.profile - mean) * (1 / self.divisor) * new_user.has_profile

    def of_new_users(self, profiles: NDArray[np.float32], shape: tuple[int, int]) -> Tensor:
        """Returns standardised profiles on the CPU.

        Raises:
            ModelError: The profiles do not have this shape.
        """
        if profiles.shape != shape:
            raise ModelError(f"profiles are of shape {profiles.shape}, not {shape}")
        return torch.from_numpy(self(profiles))


def standardised(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns vectors standardised by their own mean and scale; see `Scale`."""
    return Scale.of(values)(values)


def keep(module: nn.Module, name: str, values: NDArray[np.float32] | None) -> None:
    """Registers standardised vectors as a buffer that is not saved with the parameters."""
    kept = None if values is None else torch.from_numpy(standardised(values))
    module.register_buffer(name, kept, persistent=False)


def profile_width(*profiles: NDArray[np.float32] | None) -> int | None:
    """Returns the dimension of profiles, or None if there are none.

    Raises:
        ModelError: Profiles of users and items differ in dimension.
    """
    widths = {values.shape[1] for values in profiles if values is not None}
    if len(widths) > 1:
        raise ModelError(
            f"profiles of users and items have {sorted(widths)} numbers, but one network reads"
            " both; encode them with one encoder"
        )
    return widths.pop() if widths else None


def _check(inputs: Inputs, config: FusionConfig) -> None:
    augmented = config.variant == "augmented"
    if augmented and inputs.item_profiles is None and inputs.user_profiles is None:
        raise ModelError("variant 'augmented' needs profiles, and there are none; take 'base'")
    features = inputs.text is not None or (augmented and inputs.item_profiles is not None)
    if config.items != "ids" and not features:
        raise ModelError(
            f"items {config.items!r} needs text{' or profiles' if augmented else ''} of items,"
            " and there is none; take 'ids'"
        )
