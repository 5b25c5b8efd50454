"""What models trained by gradient descent share: scoring, folding in, saving and loading.

A model has its parameters and inputs, and no optimiser: `recommenders.trainer` calls it for the
losses of a batch, and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar, cast

import numpy as np
import torch
from scipy import sparse
from torch import nn

from recommenders.models.base import (
    Inputs,
    ModelConfig,
    check_new_users,
    check_scoring,
)
from recommenders.models.files import opened, write_folder
from recommenders.models.folding import FoldIn, few_of_each, is_cold
from recommenders.models.fusion import Fusion, FusionConfig
from recommenders.models.gates import SCALES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

_OPTIONAL = ("text", "item_profiles", "user_profiles")

C = TypeVar("C", bound=ModelConfig)
F = TypeVar("F", bound=FusionConfig)


@dataclass(frozen=True, slots=True)
class Batch:
    """Interactions with their negative items; row numbers, int64.

    Attributes:
        users: (b,).
        positives: (b,).
        negatives: (b,); (b, n) for a model with several `negatives`.
    """

    users: Tensor
    positives: Tensor
    negatives: Tensor

    def __len__(self) -> int:
        return len(self.users)

    def pieces(self, size: int) -> Iterator[Batch]:
        """Yields pieces of the batch of at most that size."""
        for start in range(0, len(self), size):
            yield self.part(start, start + size)

    def part(self, start: int, stop: int) -> Batch:
        """Returns the rows from `start` up to `stop`."""
        rows = slice(start, stop)
        return Batch(self.users[rows], self.positives[rows], self.negatives[rows])


class GradientModel(nn.Module, Generic[C]):
    """A model that is trained by gradient descent.

    Attributes:
        name: Its name in the registry.
        config_type: The class of its options.
        weight_decay: Of Adam, if the trainer's options do not say otherwise. In RecLM's code the
            loss has `reg` times the squared parameters, 1e-7 for most models; the gradient of that
            is twice as much.
    """

    name: ClassVar[str]
    config_type: ClassVar[type[ModelConfig]]
    weight_decay: ClassVar[float] = 2e-7

    def __init__(self, inputs: Inputs, config: C, generator: torch.Generator) -> None:
        """Builds an untrained model.

        Args:
            inputs: The training data.
            config: The options.
            generator: Source of the initial parameters, on the CPU.

        Raises:
            ModelError: The inputs lack what the configuration reads.
        """
        super().__init__()
        self.inputs = inputs
        self.config = config
        self._ready = False
        self.make_parts(generator)

    def make_parts(self, generator: torch.Generator) -> None:
        """Creates the parameters and everything else that is derived from the inputs."""
        raise NotImplementedError

    def begin_epoch(self, generator: torch.Generator) -> None:
        """Draws what stays fixed for an epoch; most models draw nothing."""

    def losses(self, batch: Batch, generator: torch.Generator) -> Mapping[str, Tensor]:
        """Returns the terms of the loss by name; training minimises their sum.

        Args:
            batch: On the model's device; each term is a mean over it.
            generator: Source of noise and dropout, on the same device.
        """
        raise NotImplementedError

    def prepare(self) -> None:
        """Computes what scoring needs from the present parameters."""
        raise NotImplementedError

    def score(self, users: Tensor, known: sparse.csr_array) -> Tensor:
        """Returns scores, (len(users), n_items), after `prepare`; without gradients.

        Args:
            users: User rows, on the model's device.
            known: As in `Recommender.scores`.
        """
        raise NotImplementedError

    def score_new_users(
        self, known: sparse.csr_array, profiles: NDArray[np.float32] | None
    ) -> Tensor:
        """Returns scores as `new_user_scores` does, after `prepare`; without gradients."""
        raise NotImplementedError

    @property
    def negatives(self) -> int:
        """Number of negatives that are drawn for each interaction."""
        return 1

    @property
    def device(self) -> torch.device:
        """The device of the parameters."""
        return next(self.parameters()).device

    def train(self, mode: bool = True) -> Self:
        """Switches between training and scoring; what scoring needs is computed again."""
        self._ready = False
        return super().train(mode)

    def scores(self, users: NDArray[np.int64], known: sparse.csr_array) -> NDArray[np.float32]:
        """As in `Recommender`; the first call after training computes the embeddings."""
        check_scoring(users, known, self.inputs.n_users, self.inputs.n_items)
        with torch.inference_mode():
            self.make_ready()
            scores = self.score(torch.from_numpy(users).to(self.device), known)
            return scores.float().cpu().numpy()

    def new_user_scores(
        self, known: sparse.csr_array, profiles: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32]:
        """As in `ScoresNewUsers`."""
        check_new_users(known, self.inputs.n_items)
        with torch.inference_mode():
            self.make_ready()
            return self.score_new_users(known, profiles).float().cpu().numpy()

    def make_ready(self) -> None:
        """Computes what scoring needs, unless this has been done since training."""
        if not self._ready:
            self.eval()
            self.prepare()
            self._ready = True

    def save(self, folder: Path) -> None:
        """As in `Recommender`; the inputs are saved too, since folding in new users needs them."""
        info = {
            "name": self.name,
            "config": self.config.model_dump(),
            "shape": self.inputs.train.shape,
        }
        arrays: dict[str, NDArray[Any]] = {
            f"parameter.{name}": value.cpu().numpy() for name, value in self.state_dict().items()
        }
        arrays["train.indptr"] = self.inputs.train.indptr
        arrays["train.indices"] = self.inputs.train.indices
        for name in _OPTIONAL:
            values = getattr(self.inputs, name)
            if values is not None:
                arrays[name] = values
        write_folder(folder, info, arrays)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """As in `Recommender`; the model is on the CPU."""
        with opened(folder, cls.name) as (info, arrays):
            indices, indptr = arrays["train.indices"], arrays["train.indptr"]
            train = sparse.csr_array(
                (np.ones(len(indices), np.float32), indices, indptr), shape=tuple(info["shape"])
            )
            text, items, users = (arrays.get(name) for name in _OPTIONAL)
            inputs = Inputs(train=train, text=text, item_profiles=items, user_profiles=users)
            config = cls.config_type.model_validate(info["config"])
            model = cls(inputs, cast("C", config), torch.Generator())
            learnt = {
                name: torch.from_numpy(arrays[f"parameter.{name}"]) for name in model.state_dict()
            }
            model.load_state_dict(learnt)
        return model


class FusedModel(GradientModel[F]):
    """A model whose first embeddings come from ids, text and profiles.

    Attributes:
        fusion: Computes the first embeddings.
    """

    fusion: Fusion
    _stand_ins: Tensor | None = None

    def make_parts(self, generator: torch.Generator) -> None:
        """Creates the fusion; a subclass adds its own parts."""
        self.fusion = Fusion(self.inputs, self.config, generator)

    def begin_epoch(self, generator: torch.Generator) -> None:
        """Computes the replacements of dropped ids: each user folded in from a few of their clicks."""
        if self.config.user_dropout:
            with torch.no_grad():
                fold_in = self._folding(self.fusion.items())
                self._stand_ins = fold_in.ids(few_of_each(self.inputs.train, generator))

    def in_training(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Returns the first embeddings of all users and items, with dropout."""
        return self.fusion.users(generator, self._stand_ins), self.fusion.items(generator)

    def prepare(self) -> None:
        """Computes the first embeddings, and fits the folding in of new users."""
        self._users, self._items = self.fusion.users(), self.fusion.items()
        self._fold_in = self._folding(self._items)

    @property
    def first_items(self) -> Tensor:
        """The first embeddings of the items, (n_items, d), after `prepare`."""
        return self._items

    def first(self, users: Tensor, known: sparse.csr_array) -> Tensor:
        """Returns the first embeddings of users, (len(users), d); new users are folded in."""
        vectors = self._users[users]
        cold = is_cold(users, self.inputs.train)
        if cold.size:
            positions = torch.from_numpy(cold).to(users.device)
            profiles = self.fusion.profiles_of(users[positions])
            clicks = np.diff(known[cold].indptr)
            ids = self._fold_in.ids(known[cold])
            vectors[positions] = self.fusion.folded(ids, profiles, clicks)
        return vectors

    def first_of_new_users(
        self, known: sparse.csr_array, profiles: NDArray[np.float32] | None
    ) -> Tensor:
        """Returns the first embeddings of new users, (rows, d); arguments as `new_user_scores`."""
        read = self.fusion.standardised(profiles, known.shape[0])
        return self.fusion.folded(self._fold_in.ids(known), read, np.diff(known.indptr))

    @property
    def profile_scales(self) -> tuple[float, ...]:
        """The scales of profiles to choose from on validation; none if there is no gate."""
        return () if self.fusion.gate is None else SCALES

    def set_profile_scale(self, scale: float) -> None:
        """Scales the gates of profiles; with 0 the model reads none."""
        if self.fusion.gate is not None:
            self.fusion.gate.scale.fill_(scale)
            self._ready = False

    def _folding(self, items: Tensor) -> FoldIn:
        credible = self.config.fold_in == "credible"
        return FoldIn(self.inputs.train, items, self.fusion.user_ids, credible=credible)


def generator_from(rng: np.random.Generator) -> torch.Generator:
    """Returns a torch generator on the CPU, seeded from a NumPy generator."""
    return torch.Generator().manual_seed(int(rng.integers(2**63)))
