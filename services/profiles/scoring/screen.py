"""A coarse look at all items that tells, exactly, which of them can be among the best.

The product of all items with a user's vector reads every number of a matrix. In bytes instead of
floats it takes a fraction of the time, and its error has a bound: whatever lies further below the
k-th best than twice the bound is not among the k best. What is left is scored as it should be.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnxruntime as ort

from services.profiles.scoring.product_graph import BLOCKS, bytes_product

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Vector = NDArray[np.float32]

_STEPS = 127
"""Of a number, each way."""
_ZERO = 128
"""The byte that stands for 0."""
_ROWS_AT_ONCE = 8192
_ROUNDING = 1e-4
"""Share of a score's terms that float32 may add to the error, generously."""
_NOTHING = 1e-30
"""Vectors whose largest number is below this have no numbers that could be told apart."""


class Screen:
    """Items' vectors in bytes. May be used by several threads at once.

    Takes a byte of memory for each number, besides the vectors themselves.
    """

    def __init__(self, items: Vector, bias: Vector) -> None:
        """Quantises vectors, shape (n, d); `bias`, shape (n,), stays as it is."""
        count, depth = items.shape
        block = next((size for size in BLOCKS if size >= depth), BLOCKS[-1])
        blocks = -(-depth // block)
        largest = np.zeros(depth, np.float32)
        for start in range(0, count, _ROWS_AT_ONCE):
            np.maximum(
                largest, np.abs(items[start : start + _ROWS_AT_ONCE]).max(axis=0), out=largest
            )
        # Dimensions of very different size would leave the small ones a step or two.
        self._scale = np.where(largest > 0, largest, 1).astype(np.float32)
        steps = np.full((count, blocks, block), _ZERO, np.uint8)
        scales = np.empty((count, blocks), np.float32)
        longest = 0.0
        for start in range(0, count, _ROWS_AT_ONCE):
            rows = items[start : start + _ROWS_AT_ONCE] / self._scale
            longest = max(longest, float(np.abs(rows).sum(axis=1, dtype=np.float64).max()))
            filled = np.zeros((len(rows), blocks * block), np.float32)
            filled[:, :depth] = rows
            parts = filled.reshape(len(rows), blocks, block)
            step = np.abs(parts).max(axis=2) / _STEPS
            whole = np.rint(parts / np.where(step > 0, step, 1)[..., None])
            steps[start : start + len(rows)] = (whole + _ZERO).astype(np.uint8)
            scales[start : start + len(rows)] = step
        self._longest = longest
        self._item_step = float(scales.max(initial=0))
        # In several blocks the vector that comes is rounded to the steps of each once more.
        self._roundings = 1 if blocks == 1 else 2
        self._largest_bias = float(np.abs(bias).max(initial=0))
        self._session = _session(bytes_product(steps, scales, bias, depth=depth))

    def approximate(self, user: Vector) -> tuple[Vector, float]:
        """Scores all items roughly: the products of the vectors, with the bias added.

        Args:
            user: Shape (d,).

        Returns:
            Scores, shape (n,), and how far off each of them is at most.
        """
        scaled = user * self._scale
        length = float(np.abs(scaled).sum(dtype=np.float64))
        largest = float(np.abs(scaled).max())
        if largest < _NOTHING:
            numbers, error = np.zeros_like(scaled), length
        else:
            step = largest / _STEPS
            numbers = (np.rint(scaled / step) * step).astype(np.float32)
            # Half a step of an item's number times the user's, and half a step of the user's times
            # the item's: sums over the dimensions.
            error = self._item_step / 2 * length + self._roundings * step / 2 * self._longest
        (scores,) = self._session.run(["scores"], {"user": numbers[None]})
        return scores[0], error + _ROUNDING * (length + self._largest_bias)


def _session(model: bytes) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
