"""Scores with the files of a bundle: numpy and ONNX Runtime, nothing of ours."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime as ort
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray


class Reader:
    """An opened bundle."""

    def __init__(self, folder: Path) -> None:
        self.manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_bytes())
        assert {path.name for path in folder.iterdir()} == {
            *self.manifest["files"],
            "manifest.json",
        }
        for name, record in self.manifest["files"].items():
            raw = (folder / name).read_bytes()
            assert (hashlib.sha256(raw).hexdigest(), len(raw)) == (
                record["sha256"],
                record["bytes"],
            )
        self.item_ids = pq.read_table(folder / "items.parquet")["item_id"].to_pylist()
        self.user_ids = pq.read_table(folder / "users.parquet")["user_id"].to_pylist()
        self.arrays = {
            path.stem: np.load(path, mmap_mode="r", allow_pickle=False)
            for path in folder.glob("*.npy")
        }
        tower = folder / "user_tower.onnx"
        self.tower = ort.InferenceSession(tower) if tower.exists() else None

    def known(self, user: str) -> NDArray[np.float32]:
        """Scores all items for somebody whom training knew."""
        row = self.user_ids.index(user)
        bounds = self.arrays["seen_indptr"]
        seen = self.arrays["seen_indices"][bounds[row] : bounds[row + 1]]
        if self.tower is None:
            return self._weighed(seen)
        return self._product(self.arrays["user_vectors"][row])

    def new_user(
        self, items: Sequence[int], profile: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32]:
        """Scores all items for somebody by their item rows and profile."""
        if self.tower is None:
            return self._weighed(items)
        width = max(1, self.manifest["profile_dimension"])
        has = profile is not None and self.manifest["profile_dimension"] > 0
        given = profile if has else np.zeros(width)
        feed = {
            "pooled": self.arrays["history_vectors"][list(items)].sum(axis=0)[None],
            "count": np.array([[len(items)]]),
            "profile": np.asarray(given)[None],
            "has_profile": np.array([[has]]),
        }
        feed = {name: np.asarray(value, np.float32) for name, value in feed.items()}
        (vectors,) = self.tower.run(["vector"], feed)
        return self._product(vectors[0])

    def _product(self, vector: NDArray[np.float32]) -> NDArray[np.float32]:
        return self.arrays["item_vectors"] @ vector + self.arrays["item_bias"]

    def _weighed(self, items: Sequence[int]) -> NDArray[np.float32]:
        rows = self.arrays["item_weights"][list(items)]
        if not rows.any():
            return self.arrays["item_prior"]
        return rows.sum(axis=0) + self.arrays["item_bias"]
