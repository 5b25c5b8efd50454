"""Formulas: expression trees of ONNX operations, from which a bundle's user tower is exported.

The tower runs in a service without torch. A model therefore gives the vector of a new user as a
formula: `relu(x @ weights + bias)` builds a tree, and the export translates each node. The
operations are those of ONNX and have the same names. docs/decisions/0019-libraries.md says why
torch's exporter is not used.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray
    from torch import Tensor

    Operand: TypeAlias = "Formula | NDArray[np.float32] | float"

_TINY = 1e-12
"""Lower bound of a length in a division, as in torch."""


@dataclass(frozen=True, slots=True, eq=False)
class Formula:
    """A value of (batch, some width), or a constant.

    Attributes:
        operation: An operation of ONNX; `Input` or `Constant` at a leaf.
        operands: The operation's inputs.
        options: The operation's attributes; for an input its name.
        value: The value of a constant: float32, or int64 for indices and axes.
    """

    operation: str
    operands: tuple[Formula, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    value: NDArray[Any] | None = None

    def __add__(self, other: Operand) -> Formula:
        return self._with("Add", other)

    def __sub__(self, other: Operand) -> Formula:
        return self._with("Sub", other)

    def __mul__(self, other: Operand) -> Formula:
        return self._with("Mul", other)

    def __truediv__(self, other: Operand) -> Formula:
        return self._with("Div", other)

    def __matmul__(self, other: NDArray[np.float32]) -> Formula:
        return self._with("MatMul", other)

    def at_least(self, least: float) -> Formula:
        """Returns the elementwise maximum with `least`."""
        return self._with("Max", least)

    def at_most(self, most: float) -> Formula:
        """Returns the elementwise minimum with `most`."""
        return self._with("Min", most)

    def columns(self, start: int, stop: int) -> Formula:
        """Returns the columns from `start` up to `stop`."""
        bounds = [_constant(np.array([number], np.int64)) for number in (start, stop, 1)]
        return Formula("Slice", (self, *bounds))

    def _with(self, operation: str, other: Operand) -> Formula:
        operand = other if isinstance(other, Formula) else _constant(np.asarray(other, np.float32))
        return Formula(operation, (self, operand))


def numbers(tensor: Tensor) -> NDArray[np.float32]:
    """Returns a tensor as an array of float32, for a constant of a formula."""
    result: NDArray[np.float32] = tensor.detach().float().cpu().numpy()
    return result


def layers(x: Formula, network: Iterable[nn.Module]) -> Formula:
    """Applies a sequence of linear layers, ReLUs and leaky ReLUs to a formula.

    Raises:
        TypeError: The sequence has a module of another kind.
    """
    for layer in network:
        if isinstance(layer, nn.Linear):
            x = x @ numbers(layer.weight).T
            x = x if layer.bias is None else x + numbers(layer.bias)
        elif isinstance(layer, nn.LeakyReLU):
            x = leaky_relu(x, layer.negative_slope)
        elif isinstance(layer, nn.ReLU):
            x = relu(x)
        else:
            raise TypeError(f"there is no formula for {type(layer).__name__}")
    return x


def named(name: str) -> Formula:
    """Returns an input."""
    return Formula("Input", options={"name": name})


def relu(x: Formula) -> Formula:
    """Returns the elementwise maximum with 0."""
    return Formula("Relu", (x,))


def leaky_relu(x: Formula, slope: float) -> Formula:
    """Returns positive numbers unchanged, and `slope` times the others."""
    return Formula("LeakyRelu", (x,), {"alpha": slope})


def root(x: Formula) -> Formula:
    """Returns square roots."""
    return Formula("Sqrt", (x,))


def log(x: Formula) -> Formula:
    """Returns natural logarithms."""
    return Formula("Log", (x,))


def inverse(x: Formula) -> Formula:
    """Returns 1 / x."""
    return Formula("Reciprocal", (x,))


def side_by_side(*parts: Formula) -> Formula:
    """Returns the concatenation of the formulas' columns."""
    return Formula("Concat", parts, {"axis": 1})


def unit(x: Formula) -> Formula:
    """Returns rows divided by their Euclidean length."""
    length = Formula("ReduceL2", (x,), {"axes": [1], "keepdims": 1})
    return x / length.at_least(_TINY)


def _constant(value: NDArray[Any]) -> Formula:
    return Formula("Constant", value=value)
