"""Where training stood, in one file, so that a run that was killed goes on as if it had not been.

The file is safetensors, with the rest as JSON in its header. It is written under another name and
renamed: whenever a run is killed, the name holds a whole state or none.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from recommenders.models.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
    from torch import Tensor
    from torch.optim import Optimizer


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """Where training stood.

    Attributes:
        tensors: By name, on the CPU.
        state: What JSON can hold.
    """

    tensors: Mapping[str, Tensor]
    state: Mapping[str, Any]

    def write(self, path: Path) -> None:
        """Writes the file whole, in the place of one that is there; folders above it are made."""
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = path.with_name(f".{path.name}.new")
        tensors = {name: tensor.contiguous() for name, tensor in self.tensors.items()}
        save_file(tensors, scratch, metadata={"state": json.dumps(self.state)})
        scratch.replace(path)

    @classmethod
    def read(cls, path: Path) -> Checkpoint:
        """Reads what `write` wrote.

        Raises:
            ModelError: The file is damaged or is something else.
        """
        try:
            with safe_open(path, framework="pt") as file:
                names = file.keys()  # what it opens is no mapping, and cannot be iterated over
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
    """Returns those that `pack` gave this prefix, without it."""
    start = f"{prefix}."
    return {
        name.removeprefix(start): tensor
        for name, tensor in tensors.items()
        if name.startswith(start)
    }


def optimizer_tensors(optimizer: Optimizer) -> dict[str, Tensor]:
    """Returns what an optimizer remembers of each parameter; all of it are tensors for Adam."""
    state = optimizer.state_dict()["state"]
    return {f"{place}.{key}": value for place, row in state.items() for key, value in row.items()}


def restore_optimizer(optimizer: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Gives an optimizer back what `optimizer_tensors` returned."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        place, key = name.split(".")
        state.setdefault(int(place), {})[key] = tensor
    optimizer.load_state_dict(optimizer.state_dict() | {"state": state})


def restore_rng(rng: np.random.Generator, state: Mapping[str, Any]) -> None:
    """Sets a generator to a state that JSON has held."""
    rng.bit_generator.state = dict(state)
