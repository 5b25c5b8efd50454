"""Compiling a model's layers: what lies between the matrix products is computed in one go.

Those products are a third of a step of a small model on a CPU; the rest is a thousand small
operations, each of which reads and writes all of its tokens.
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
    """Says whether layers can be compiled here: a GPU's compiler comes with torch."""
    return torch.cuda.is_available() or any(map(shutil.which, _compilers()))


def compile_layers(model: nn.Module) -> None:
    """Has each layer of a model compiled when it is first called, once for all lengths.

    Layers of one kind share what is compiled, and a later process finds it in torch's cache, so it
    costs minutes once. The sums are the same in another order.

    Args:
        model: Its layers are the members of its lists of modules; changed in place.

    Raises:
        TrainingError: It computes on a CPU, and there is no C++ compiler.
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
