"""Checkpoints: the state of a training in one file, so that an interrupted run can be resumed.

The file is safetensors, with the rest as JSON in its header. It is written atomically: whenever a
run is killed, the file is complete or absent.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from recommenders.models.errors import ModelError
from services.common.files import atomic_path

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
    from torch import Tensor
    from torch.optim import Optimizer


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """The state of a training.

    Attributes:
        tensors: Name -> tensor on the CPU.
        state: JSON values.
    """

    tensors: Mapping[str, Tensor]
    state: Mapping[str, Any]

    def write(self, path: Path) -> None:
        """Writes the file atomically; it replaces an earlier one, and its parent folders are made."""
        tensors = {name: tensor.contiguous() for name, tensor in self.tensors.items()}
        with atomic_path(path) as temporary:
            save_file(tensors, temporary, metadata={"state": json.dumps(self.state)})

    @classmethod
    def read(cls, path: Path) -> Checkpoint:
        """Reads a file that `write` wrote.

        Raises:
            ModelError: The file is damaged or is not a checkpoint.
        """
        try:
            with safe_open(path, framework="pt") as file:
                names = file.keys()  # the opened file is not a mapping and cannot be iterated over
                tensors = {name: file.get_tensor(name) for name in names}
                state = json.loads((file.metadata() or {})["state"])
        except (SafetensorError, OSError, KeyError, ValueError) as error:
            raise ModelError(
                f"{path} is not a checkpoint that can be read ({error}); delete it to start anew"
            ) from error
        return cls(tensors=tensors, state=state)


def copied(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns copies on the CPU."""
    return {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}


def pack(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns copies on the CPU, each name with a prefix."""
    return {f"{prefix}.{name}": tensor for name, tensor in copied(tensors).items()}


def unpack(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns the tensors to which `pack` gave this prefix, without the prefix."""
    start = f"{prefix}."
    return {
        name.removeprefix(start): tensor
        for name, tensor in tensors.items()
        if name.startswith(start)
    }


def optimizer_tensors(optimizer: Optimizer) -> dict[str, Tensor]:
    """Returns an optimizer's state of each parameter, which for Adam consists of tensors only."""
    state = optimizer.state_dict()["state"]
    return {f"{place}.{key}": value for place, row in state.items() for key, value in row.items()}


def restore_optimizer(optimizer: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Restores the state that `optimizer_tensors` returned."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        place, key = name.split(".")
        state.setdefault(int(place), {})[key] = tensor
    optimizer.load_state_dict(optimizer.state_dict() | {"state": state})


def restore_rng(rng: np.random.Generator, state: Mapping[str, Any]) -> None:
    """Sets a generator to a state that was read from JSON."""
    rng.bit_generator.state = dict(state)
