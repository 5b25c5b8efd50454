"""Approximate scores of all items, with a bound on the error, to find candidates for the best k.

The product of all items with a user's vector reads every number of a matrix. With bytes instead of
floats this takes a fraction of the time, and the error has a bound: an item whose score is below the
k-th best by more than twice the bound is not among the k best. The others are scored exactly.
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
"""Quantisation steps on each side of 0."""
_ZERO = 128
"""The byte that stands for 0."""
_ROWS_AT_ONCE = 8192
_ROUNDING = 1e-4
"""A generous bound on the rounding error of float32, as a share of a score's terms."""
_NOTHING = 1e-30
"""Vectors whose largest number is below this are treated as zero."""


class Screen:
    """Items' vectors in bytes. May be used by several threads at once.

    Needs one byte of memory for each number, besides the vectors.
    """

    def __init__(self, items: Vector, bias: Vector) -> None:
        """Quantises vectors, shape (n, d); `bias`, shape (n,), is not quantised."""
        count, depth = items.shape
        block = next((size for size in BLOCKS if size >= depth), BLOCKS[-1])
        blocks = -(-depth // block)
        largest = np.zeros(depth, np.float32)
        for start in range(0, count, _ROWS_AT_ONCE):
            np.maximum(
                largest, np.abs(items[start : start + _ROWS_AT_ONCE]).max(axis=0), out=largest
            )
        # Without scaling, dimensions with small numbers would have only a step or two.
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
        # With several blocks, the user's vector is rounded to the steps of each block as well.
        self._roundings = 1 if blocks == 1 else 2
        self._largest_bias = float(np.abs(bias).max(initial=0))
        self._session = _session(bytes_product(steps, scales, bias, depth=depth))

    def approximate(self, user: Vector) -> tuple[Vector, float]:
        """Scores all items roughly: the products of the vectors, with the bias added.

        Args:
            user: Shape (d,).

        Returns:
            Scores, shape (n,), and a bound on the error of each.
        """
        scaled = user * self._scale
        length = float(np.abs(scaled).sum(dtype=np.float64))
        largest = float(np.abs(scaled).max())
        if largest < _NOTHING:
            numbers, error = np.zeros_like(scaled), length
        else:
            step = largest / _STEPS
            numbers = (np.rint(scaled / step) * step).astype(np.float32)
            # Half a step of an item's number times the user's number, plus half a step of the user's
            # number times the item's, summed over the dimensions.
            error = self._item_step / 2 * length + self._roundings * step / 2 * self._longest
        (scores,) = self._session.run(["scores"], {"user": numbers[None]})
        return scores[0], error + _ROUNDING * (length + self._largest_bias)


def _session(model: bytes) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
