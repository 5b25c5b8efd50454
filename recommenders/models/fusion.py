"""How ids, text and profiles become the first embedding of a user or an item; the same for all.

As in RecLM (arXiv 2412.19302, and its code): an item has no id of its own but is what a small
network makes of its text, so that a new item is as good as any; a user has an id embedding. The
augmented variant reads profiles through a second network, shared by users and items, and a layer,
shared as well, fuses a profile with what there was without it.
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

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from recommenders.models.base import Inputs
    from recommenders.models.formulas import Formula
    from recommenders.models.terms import NewUser


class FusionConfig(ModelConfig):
    """What embeddings are made from.

    Attributes:
        variant: `base` reads items' text alone; `augmented` users' and items' profiles too.
        items: What an item is: its `features`, as in the paper; its `ids` alone, as where a
            graph model was first published; or `both`, added.
        embedding_size: Numbers in an embedding.
        fusion: How a profile joins: `concat`, the paper's layer over both, or `add`, their sum.
        id_dropout: How likely an item's id is left out of a training step, with `both`, so that
            features learn to stand alone.
        user_dropout: How likely a user is a stranger in a training step: their id is replaced by
            the one that a few of their clicks would give; and, by a lot of its own, how likely
            their profile is left out. So either learns to stand alone (DropoutNet, Volkovs et
            al., NeurIPS 2017, section 4.2). 0 as in the paper.
        fold_in: How much the clicks of a stranger say: as much as all that training users chose
            (`mean`), or by how many they are (`credible`; see `folding.FoldIn`).
    """

    variant: Literal["base", "augmented"] = "base"
    items: Literal["features", "ids", "both"] = "features"
    embedding_size: int = Field(32, ge=1)
    fusion: Literal["concat", "add"] = "concat"
    id_dropout: float = Field(0.5, ge=0, lt=1)
    user_dropout: float = Field(0.0, ge=0, lt=1)
    fold_in: Literal["mean", "credible"] = "mean"


class Fusion(nn.Module):
    """First embeddings.

    A user or item without training interactions has an id part of zero, whatever its table row
    holds: nothing was learnt there.

    Attributes:
        user_ids: (n_users, d).
        item_ids: (n_items, d), or None where items have features only.
        text_network: From an item's text, or None.
        profile_network: From the profile of an item or a user, or None.
        fuse: The layer over both, or None where they are added or there is one alone.
    """

    _text: Tensor | None
    _item_profiles: Tensor | None
    _user_profiles: Tensor | None

    def __init__(self, inputs: Inputs, config: FusionConfig, generator: torch.Generator) -> None:
        """Draws the parameters.

        Raises:
            ModelError: What the configuration reads is not among the inputs.
        """
        super().__init__()
        size, augmented = config.embedding_size, config.variant == "augmented"
        self._config = config
        of_items = config.items != "ids"
        text = inputs.text if of_items else None
        item_profiles = inputs.item_profiles if of_items and augmented else None
        user_profiles = inputs.user_profiles if augmented else None
        _check(inputs, config)

        self.user_ids = nn.Parameter(table((inputs.n_users, size), generator))
        self.item_ids = (
            None
            if config.items == "features"
            else nn.Parameter(table((inputs.n_items, size), generator))
        )
        self.text_network = None if text is None else network(text.shape[1], size, generator)
        width = profile_width(item_profiles, user_profiles)
        self.profile_network = None if width is None else network(width, size, generator)
        self.fuse = (
            nn.Sequential(linear(2 * size, size, generator), nn.ReLU())
            if width is not None and config.fusion == "concat"
            else None
        )
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
        """Numbers in a user's profile; 0 where none is read."""
        return 0 if self._user_profiles is None else int(self._user_profiles.shape[1])

    def users(
        self, generator: torch.Generator | None = None, stand_ins: Tensor | None = None
    ) -> Tensor:
        """Returns the first embeddings of all users, (n_users, d).

        Args:
            generator: Where dropout of users comes from, in training; nothing is dropped without.
            stand_ins: What takes the place of an id that is dropped, (n_users, d).
        """
        ids = self.user_ids * self.get_buffer("_warm_users")
        profiles, dropout = self._user_profiles, self._config.user_dropout
        if generator is not None and stand_ins is not None and dropout:
            draws = torch.rand((len(ids), 2), generator=generator, device=ids.device) < dropout
            ids = torch.where(draws[:, :1], stand_ins, ids)
            profiles = None if profiles is None else profiles * ~draws[:, 1:]
        return self._fused_users(ids, profiles)

    def profiles_of(self, users: Tensor) -> Tensor | None:
        """Returns users' profiles as they are read, (u, p), or None where none are."""
        return None if self._user_profiles is None else self._user_profiles[users]

    def standardised(self, profiles: NDArray[np.float32] | None, users: int) -> Tensor | None:
        """Returns strangers' profiles as they are read.

        Args:
            profiles: As an encoder makes them, (u, p), zeros where there is none; None for
                strangers without any.
            users: How many strangers there are.

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

    def folded(self, ids: Tensor, profiles: Tensor | None) -> Tensor:
        """Returns the first embeddings of users whose id part was found otherwise.

        Args:
            ids: (u, d).
            profiles: Their profiles as they are read, (u, p); None where none are.
        """
        return self._fused_users(ids, profiles)

    def formula(self, ids: Formula, new_user: NewUser) -> Formula:
        """Returns what `folded` makes of an id part and a raw profile, as a formula."""
        if self.profile_network is None or self._user_profiles is None:
            return ids
        read = unit(layers(self._scale.formula(new_user), self.profile_network))
        if self.fuse is None:
            return ids + read
        return layers(side_by_side(ids, read), self.fuse)

    def items(self, generator: torch.Generator | None = None) -> Tensor:
        """Returns the first embeddings of all items, (n_items, d).

        Args:
            generator: Where dropout of ids comes from, in training; nothing is dropped without.
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
        parts: list[Tensor] = []
        if self.text_network is not None:
            parts.append(self.text_network(self._text))
        if self.profile_network is not None and self._item_profiles is not None:
            parts.append(self.profile_network(self._item_profiles))
        return self._fused(*parts) if parts else None

    def _fused_users(self, ids: Tensor, profiles: Tensor | None) -> Tensor:
        if self.profile_network is None or profiles is None:
            return ids
        return self._fused(ids, functional.normalize(self.profile_network(profiles)))

    def _fused(self, before: Tensor, profile: Tensor | None = None) -> Tensor:
        if profile is None:
            return before
        if self.fuse is None:
            return before + profile
        fused: Tensor = self.fuse(torch.cat([before, profile], dim=1))
        return fused


def linear(
    inputs: int, outputs: int, generator: torch.Generator, *, bias: bool = True
) -> nn.Linear:
    """Returns a layer as torch draws one (He et al., 2015), but from this generator."""
    layer: nn.Linear = nn.utils.skip_init(nn.Linear, inputs, outputs, bias=bias)  # type: ignore[no-untyped-call]
    bound = inputs**-0.5
    with torch.no_grad():
        layer.weight.uniform_(-bound, bound, generator=generator)
        if bias:
            layer.bias.uniform_(-bound, bound, generator=generator)
    return layer


def network(inputs: int, outputs: int, generator: torch.Generator) -> nn.Sequential:
    """Returns two layers with a ReLU between."""
    first, second = linear(inputs, outputs, generator), linear(outputs, outputs, generator)
    return nn.Sequential(first, nn.ReLU(), second)


def table(shape: tuple[int, int], generator: torch.Generator) -> Tensor:
    """Returns id embeddings as LightGCN's code draws them.

    Smaller ones (Glorot's, for tables of this length) keep contrastive models from learning for
    many epochs: the gradient of a cosine grows as embeddings shrink, that of BPR shrinks.
    """
    return torch.empty(shape).normal_(std=0.1, generator=generator)


@dataclass(frozen=True, slots=True)
class Scale:
    """How vectors are standardised: the mean is taken off, and the mean square becomes 1.

    Encoders' vectors share a large mean and have small numbers; a network learns little from
    them as they are. Rows of zeros, which have no vector, stay so: they are the average one.

    Attributes:
        mean: (p,), float64; of no numbers where there are no vectors.
        divisor: What the differences from the mean are divided by.
    """

    mean: NDArray[np.float64]
    divisor: float

    @classmethod
    def of(cls, values: NDArray[np.float32] | None) -> Scale:
        """Works it out from vectors, (n, p)."""
        if values is None:
            return cls(np.zeros(0), 1.0)
        rows = values[np.asarray(values.any(axis=1))]
        if not len(rows):
            return cls(np.zeros(values.shape[1]), 1.0)
        mean = rows.mean(axis=0, dtype=np.float64)
        square = float(np.square(rows - mean).mean())
        return cls(mean, square**0.5 if square > 0 else 1.0)

    def __call__(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Returns the vectors standardised."""
        there = np.asarray(values.any(axis=1))
        scaled = np.where(there[:, None], values - self.mean, 0) / self.divisor
        return scaled.astype(np.float32)

    def formula(self, new_user: NewUser) -> Formula:
        """Returns a raw profile standardised, zeros where there is none."""
        mean = self.mean.astype(np.float32)
        return (new_user.profile - mean) * (1 / self.divisor) * new_user.has_profile

    def of_new_users(self, profiles: NDArray[np.float32], shape: tuple[int, int]) -> Tensor:
        """Returns profiles standardised, on the CPU.

        Raises:
            ModelError: They are not of this shape.
        """
        if profiles.shape != shape:
            raise ModelError(f"profiles are of shape {profiles.shape}, not {shape}")
        return torch.from_numpy(self(profiles))


def standardised(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns vectors standardised by themselves; see `Scale`."""
    return Scale.of(values)(values)


def keep(module: nn.Module, name: str, values: NDArray[np.float32] | None) -> None:
    """Keeps standardised vectors with a module, on its device but not among what it learnt."""
    kept = None if values is None else torch.from_numpy(standardised(values))
    module.register_buffer(name, kept, persistent=False)


def profile_width(*profiles: NDArray[np.float32] | None) -> int | None:
    """Returns how many numbers profiles have, or None where there are none.

    Raises:
        ModelError: Those of users and items have not as many.
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
