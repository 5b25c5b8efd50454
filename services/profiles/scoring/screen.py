"""A coarse look at all items that tells, exactly, which of them can be among the best.

The product of all items with a user's vector reads every number of a matrix. In bytes instead of
floats it takes a sixth of the time, and its error has a bound: whatever lies further below the
k-th best than twice the bound is not among the k best. What is left is scored as it should be.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnxruntime as ort

from services.profiles.scoring.product_graph import bytes_product

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Vector = NDArray[np.float32]

_STEPS = 64
"""Of an item's numbers, each way. Not 127: two products of a byte and these still fit into 16 bits,
which is where processors without 8-bit dot products (AVX2 without VNNI) add them up."""
_USER_STEPS = 127
_ZERO = 128
"""The byte that stands for 0 in a user's vector: kernels are fastest for unsigned times signed."""
_ROWS_AT_ONCE = 8192
_ROUNDING = 1e-4
"""Share of a score's terms that float32 may add to the error, generously."""


class Screen:
    """Items' vectors in bytes. May be used by several threads at once.

    Takes a byte of memory for each number, besides the vectors themselves.
    """

    def __init__(self, items: NDArray[np.float32]) -> None:
        """Quantises vectors, shape (n, d), each dimension by its largest number."""
        largest = np.zeros(items.shape[1], np.float32)
        for start in range(0, len(items), _ROWS_AT_ONCE):
            np.maximum(
                largest, np.abs(items[start : start + _ROWS_AT_ONCE]).max(axis=0), out=largest
            )
        self._scale = np.where(largest > 0, largest, 1).astype(np.float32)
        steps = np.empty((items.shape[1], len(items)), np.int8)
        longest = 0.0
        for start in range(0, len(items), _ROWS_AT_ONCE):
            block = np.rint(items[start : start + _ROWS_AT_ONCE] / self._scale * _STEPS)
            steps[:, start : start + len(block)] = block.T
            longest = max(longest, float(np.abs(block).sum(axis=1).max()))
        self._longest = longest / _STEPS
        self._session = _session(steps)

    def approximate(self, user: Vector) -> tuple[Vector, float]:
        """Scores all items roughly.

        Args:
            user: Shape (d,).

        Returns:
            Scores, shape (n,), and how far from the product each of them is at most.
        """
        scaled = user * self._scale
        step = max(float(np.abs(scaled).max()), float(np.finfo(np.float32).tiny)) / _USER_STEPS
        bytes_ = (np.rint(scaled / step) + _ZERO).astype(np.uint8)
        (products,) = self._session.run(["scores"], {"user": bytes_[None]})
        scores = np.multiply(products[0], np.float32(step / _STEPS), dtype=np.float32)
        length = float(np.abs(scaled).sum())
        # Half a step of an item's number times the user's, and half a step of the user's times the
        # item's: sums over the dimensions.
        error = length / (2 * _STEPS) + step / 2 * self._longest
        return scores, error + _ROUNDING * length


def _session(steps: NDArray[np.int8]) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    model = bytes_product(steps, zero=_ZERO)
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
