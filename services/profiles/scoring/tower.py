"""Runs the user tower, which computes a user's vector from clicks and a profile."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnxruntime as ort

from services.profiles.errors import DamagedBundle

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    Rows = NDArray[np.float32]

_OUTPUT = "vector"


class Tower:
    """The ONNX model of a bundle. May be run by several threads at once.

    Attributes:
        profile_size: Width of the input `profile`: 1 if the tower reads no profiles.
    """

    def __init__(
        self, path: Path, *, history_dimension: int, profile_dimension: int, dimension: int
    ) -> None:
        """Loads the model and runs it once.

        Raises:
            DamagedBundle: It is not a tower of these dimensions.
        """
        self.profile_size = max(1, profile_dimension)
        self._sizes = {
            "pooled": history_dimension,
            "count": 1,
            "profile": self.profile_size,
            "has_profile": 1,
        }
        where = f"{path.parent.name}: {path.name}"
        options = ort.SessionOptions()
        # A run takes less time than waking another thread.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = ort.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
            names = sorted(node.name for node in self._session.get_inputs())
            if names != sorted(self._sizes):
                raise DamagedBundle(
                    f"{where} reads {', '.join(names)}, and a tower reads {', '.join(self._sizes)}"
                )
            zeros = {name: np.zeros((2, size), np.float32) for name, size in self._sizes.items()}
            (vectors,) = self._session.run([_OUTPUT], zeros)
        except DamagedBundle:
            raise
        except Exception as error:  # ONNX Runtime's errors have no common base but Exception
            raise DamagedBundle(f"{where} cannot be run: {error}") from error
        if vectors.shape != (2, dimension) or not np.isfinite(vectors).all():
            raise DamagedBundle(
                f"{where} writes {vectors.dtype} of shape {vectors.shape} for two users, and "
                f"should write finite numbers of shape {(2, dimension)}"
            )

    def vectors(self, pooled: Rows, count: Rows, profile: Rows, has_profile: Rows) -> Rows:
        """Returns users' vectors, shape (batch, dimension).

        Args:
            pooled: Shape (batch, history_dimension): sums of the rows of the known items.
            count: Shape (batch, 1): how many those are.
            profile: Shape (batch, profile_size): zeros where there is none.
            has_profile: Shape (batch, 1): 1 or 0.
        """
        feed = {"pooled": pooled, "count": count, "profile": profile, "has_profile": has_profile}
        (vectors,) = self._session.run([_OUTPUT], feed)
        rows: Rows = vectors
        return rows
