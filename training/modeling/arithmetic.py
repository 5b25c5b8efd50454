"""Float64 arithmetic for models with float32 parameters.

A float32 logit of about 40 has a rounding error of about 2e-4: each addition in a layer rounds, and
later layers propagate the error. Without it, two models can be compared more closely.
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
    """A context in which models with float32 parameters compute in float64.

    Embeddings and linear layers return float64. A cast of float64 to float32, as norms make before
    they square, is skipped. Parameters are kept in float32 and converted one layer at a time. Logits
    are float64.
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
