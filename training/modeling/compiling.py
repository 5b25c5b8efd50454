"""Compiles a model's layers: the operations between the matrix products are fused.

The products are a third of a step of a small model on a CPU. The rest is a thousand small operations,
each of which reads and writes all activations.
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import torch

from training.errors import TrainingError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

_COMPILERS = ("g++", "clang++")


def there_is_a_compiler() -> bool:
    """Returns whether layers can be compiled here. The compiler for a GPU comes with torch."""
    return torch.cuda.is_available() or any(map(shutil.which, _compilers()))


def compile_layers(model: nn.Module) -> None:
    """Compiles each layer of a model at its first call, once for all sequence lengths.

    Layers of one kind share the compiled code, and a later process finds it in torch's cache: it costs
    minutes once. Results differ by rounding, since sums are taken in another order.

    Args:
        model: The model, changed in place. Its layers are the members of its module lists.

    Raises:
        TrainingError: The model is on a CPU, and there is no C++ compiler.
    """
    if not there_is_a_compiler():
        raise TrainingError(
            f"torch_compile needs a C++ compiler ({' or '.join(_compilers())}), and there is none on the "
            "PATH; install one, or set torch_compile to false"
        )
    for part in model.modules():
        if isinstance(part, torch.nn.ModuleList):
            for layer in part:
                layer.compile(dynamic=True)


def _compilers() -> Sequence[str]:
    named = os.environ.get("CXX")
    return (named,) if named else _COMPILERS
