"""Models in float32, computed without its rounding.

A float32 logit of some 40 is itself only known to some 2e-4: each addition of a layer rounds, and
the layers after it carry that on. Two models can only be told to be the same where that is away.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import embedding, linear
from torch.overrides import TorchFunctionMode

if TYPE_CHECKING:
    from collections.abc import Sequence

_CASTS = {torch.Tensor.to, torch.Tensor.float, torch.Tensor.type_as}


class WideArithmetic(TorchFunctionMode):
    """While entered, models whose parameters are float32 compute in float64.

    What leaves an embedding is float64, and so is what leaves a linear layer. A cast of that to
    float32, as norms make before they square, is left out. Parameters stay as they are, one layer's
    at a time is widened, and logits come out as float64.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is linear:
            return linear(*(None if value is None else value.double() for value in args))
        result = func(*args, **kwargs)
        if func is embedding:
            return result.double()
        narrowed = func in _CASTS and (args[0].dtype, result.dtype) == (
            torch.float64,
            torch.float32,
        )
        return args[0] if narrowed else result
