"""A coarse look at all items that tells, exactly, which of them can be among the best.

The product of all items with a user's vector reads every number of a matrix. In bytes instead of
floats it takes a sixth of the time, and its error has a bound: whatever lies further below the
k-th best than twice the bound is not among the k best. What is left is scored as it should be.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import onnxruntime as ort

from services.profiles.scoring.product_graph import bytes_product

if TYPE_CHECKING:
    from numpy.typing import NDArray

_STEPS = 64
"""Of an item's numbers, each way. Not 127: two products of a byte and these still fit into 16 bits,
which is where processors without 8-bit dot products (AVX2 without VNNI) add them up."""
_USER_STEPS = 127
_ZERO = 128
"""The byte that stands for 0 in a user's vector: kernels are fastest for unsigned times signed."""
_BIASES = 3
"""Columns that an item's bias is spread over, or it would decide how finely the user's numbers
are told apart. One more has what rounding leaves of it."""
NEVER = -(2**30)
"""Below every rough score, by far."""
_ROWS_AT_ONCE = 8192
_ROUNDING = 1e-4
"""Share of a score's terms that float32 may add to the error, generously."""


class Rough(NamedTuple):
    """Scores in whole numbers.

    Attributes:
        scores: Shape (n,).
        error: How far each of them is at most from what it should be.
        unit: What a score of 1 is worth.
    """

    scores: NDArray[np.int32]
    error: int
    unit: float


class Screen:
    """Items' vectors and biases in bytes. May be used by several threads at once.

    Takes a byte of memory for each number, besides the vectors themselves.
    """

    def __init__(self, items: NDArray[np.float32], bias: NDArray[np.float32]) -> None:
        """Quantises vectors, shape (n, d), each dimension by its largest number, and biases, (n,)."""
        depth = items.shape[1]
        largest = np.zeros(depth, np.float32)
        for start in range(0, len(items), _ROWS_AT_ONCE):
            np.maximum(
                largest, np.abs(items[start : start + _ROWS_AT_ONCE]).max(axis=0), out=largest
            )
        self._scale = np.where(largest > 0, largest, 1).astype(np.float32)
        biggest = float(np.abs(bias).max(initial=0))
        left = biggest / (2 * _STEPS)
        self._constant = np.array([*[biggest / _BIASES] * _BIASES, left], np.float32)
        """What stands in a user's vector for the bias."""
        self._bias_length = biggest + left
        self._bias_left = left

        steps = np.empty((depth + _BIASES + 1, len(items)), np.int8)
        longest = 0.0
        for start in range(0, len(items), _ROWS_AT_ONCE):
            chosen = slice(start, start + _ROWS_AT_ONCE)
            block = steps[:, chosen]
            block[:depth] = np.rint(items[chosen] / self._scale * _STEPS).T
            scaled = bias[chosen] / (biggest or 1) * _STEPS
            whole = np.rint(scaled)
            block[depth:-1] = whole
            block[-1] = np.rint((scaled - whole) * 2 * _STEPS)
            longest = max(longest, float(np.abs(block.astype(np.int32)).sum(axis=0).max()))
        self._longest = longest / _STEPS
        self._session = _session(steps)

    def approximate(self, user: NDArray[np.float32]) -> Rough:
        """Scores all items roughly: the product of the vectors, with the bias added.

        Args:
            user: Shape (d,).
        """
        scaled = np.concatenate([user * self._scale, self._constant])
        step = max(float(np.abs(scaled).max()), float(np.finfo(np.float32).tiny)) / _USER_STEPS
        bytes_ = (np.rint(scaled / step) + _ZERO).astype(np.uint8)
        (products,) = self._session.run(["scores"], {"user": bytes_[None]})
        length = float(np.abs(scaled[: -len(self._constant)]).sum())
        # Half a step of an item's number times the user's, and half a step of the user's times the
        # item's: sums over the dimensions. Of the bias, what is left over has such a step.
        error = (length + self._bias_left) / (2 * _STEPS) + step / 2 * self._longest
        error += _ROUNDING * (length + self._bias_length)
        unit = step / _STEPS
        return Rough(products[0], math.ceil(error / unit), unit)


def _session(steps: NDArray[np.int8]) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    model = bytes_product(steps, zero=_ZERO)
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
