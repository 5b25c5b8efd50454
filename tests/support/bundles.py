"""Small scorer bundles: arrays with scores that are easy to compute, and a linear tower."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq
from onnx import TensorProto, helper, numpy_helper

from reclm_client import ReclmClient, Retries, Unavailable
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

ENCODER = {"name": "letters", "hash": "abc"}


@dataclass
class Made:
    """The content of a bundle; `write` writes it.

    Attributes:
        arrays: Arrays by file name without suffix.
        history_weight: Shape (m, d). The tower is
            `pooled @ history_weight + has_profile * (profile @ profile_weight + offset)`
            `+ count * count_weight`.
        profile_weight: Shape (p, d).
        offset: Shape (d,).
        count_weight: Shape (d,).
    """

    item_ids: list[str]
    user_ids: list[str]
    arrays: dict[str, NDArray[Any]]
    kind: str = "factors"
    history_weight: NDArray[np.float32] | None = None
    profile_weight: NDArray[np.float32] | None = None
    offset: NDArray[np.float32] | None = None
    count_weight: NDArray[np.float32] | None = None
    encoder: dict[str, str] | None = None
    profiles: dict[str, Any] | None = None
    changed: dict[str, Any] = field(default_factory=dict)

    def write(self, folder: Path, name: str) -> Path:
        """Writes the bundle as `folder/name`. Members in `changed` replace those of the manifest."""
        path = folder / name
        path.mkdir(parents=True)
        pq.write_table(pa.table({"item_id": self.item_ids}), path / "items.parquet")
        users = pa.table({"user_id": pa.array(self.user_ids, pa.string())})
        pq.write_table(users, path / "users.parquet")
        for array, values in self.arrays.items():
            np.save(path / f"{array}.npy", values)
        sizes = (0, 0, 0)
        if self.kind == "factors":
            assert self.history_weight is not None
            m, d = self.history_weight.shape
            p = 0 if self.profile_weight is None else len(self.profile_weight)
            sizes = (d, m, p)
            onnx.save(
                tower(self.history_weight, self.profile_weight, self.offset, self.count_weight),
                path / "user_tower.onnx",
            )
        manifest = {
            "format": 1,
            "name": name,
            "created_at": "2026-01-01T00:00:00Z",
            "kind": self.kind,
            "model": {"name": "by-hand", "options": {}},
            "dataset": "d",
            "split": "s",
            "encoder": self.encoder,
            "profiles": self.profiles,
            "n_items": len(self.item_ids),
            "n_users": len(self.user_ids),
            "dimension": sizes[0],
            "history_dimension": sizes[1],
            "profile_dimension": sizes[2],
            "metrics": {"recall@20": 0.5},
            "files": {file.name: record(file) for file in sorted(path.iterdir())},
        }
        (path / "manifest.json").write_text(json.dumps({**manifest, **self.changed}))
        return path


def record(file: Path) -> dict[str, Any]:
    """Returns a manifest's record of a file."""
    raw = file.read_bytes()
    return {"sha256": hashlib.sha256(raw).hexdigest(), "bytes": len(raw)}


def little(*, shift: float = 0.0, encoder: dict[str, str] | None = None) -> Made:
    """Returns four items and one user, with scores that are easy to compute by hand.

    The vectors of a and b have only a first component, those of c and d only a second one; d has the
    higher bias. The tower adds the clicks' vectors, and the first two components of a profile times
    10. The user `known` has seen a and has the vector (1, 0.5).

    Args:
        shift: Added to every bias, so that a score identifies its bundle.
        encoder: The encoder that the manifest names; ENCODER by default.
    """
    vectors = np.array([[1, 0], [2, 0], [0, 1], [0, 2]], np.float32)
    profile_weight = np.zeros((384, 2), np.float32)
    profile_weight[0, 0] = profile_weight[1, 1] = 10
    return Made(
        item_ids=["a", "b", "c", "d"],
        user_ids=["known"],
        arrays={
            "item_vectors": vectors,
            "item_bias": np.array([0, 0, 0, 0.25], np.float32) + np.float32(shift),
            "history_vectors": vectors,
            "user_vectors": np.array([[1, 0.5]], np.float32),
            **seen([[0]]),
            **neighbours(4),
        },
        history_weight=np.eye(2, dtype=np.float32),
        profile_weight=profile_weight,
        encoder=encoder or ENCODER,
    )


def little_weights() -> Made:
    """Returns four items whose scores are sums of rows of a matrix; `known` has seen a and b."""
    weights = np.array([[0, 1, 2, -1], [1, 0, 0.5, 3], [2, 0.5, 0, 0], [-1, 3, 0, 0]], np.float32)
    return Made(
        item_ids=["a", "b", "c", "d"],
        user_ids=["known"],
        arrays={
            "item_weights": weights,
            "item_bias": np.array([0, 0, 0, 0.25], np.float32),
            "item_prior": np.array([0.5, 0.125, 0.75, 0.25], np.float32),
            **seen([[0, 1]]),
            **neighbours(4),
        },
        kind="weights",
    )


def seen(rows: list[list[int]]) -> dict[str, NDArray[Any]]:
    """Returns users' training items as the two arrays of a bundle."""
    lengths = [0, *(len(row) for row in rows)]
    flat = [item for row in rows for item in row]
    return {
        "seen_indptr": np.cumsum(lengths).astype(np.int64),
        "seen_indices": np.array(flat, np.int32),
    }


def neighbours(n_items: int) -> dict[str, NDArray[Any]]:
    """Returns neighbour arrays of zeros in the right shape."""
    return {
        "neighbours_indices": np.zeros((n_items, 20), np.int32),
        "neighbours_scores": np.zeros((n_items, 20), np.float32),
    }


def tower(
    history_weight: NDArray[np.float32],
    profile_weight: NDArray[np.float32] | None,
    offset: NDArray[np.float32] | None = None,
    count_weight: NDArray[np.float32] | None = None,
) -> onnx.ModelProto:
    """Returns the linear tower that `Made` describes."""
    m, d = history_weight.shape
    if profile_weight is None:
        profile_weight = np.zeros((1, d), np.float32)
    if offset is None:
        offset = np.zeros(d, np.float32)
    if count_weight is None:
        count_weight = np.zeros(d, np.float32)
    sizes = {"pooled": m, "count": 1, "profile": len(profile_weight), "has_profile": 1}
    constants = {
        "history": history_weight,
        "words": profile_weight,
        "offset": offset[None],
        "each": count_weight[None],
    }
    nodes = [
        helper.make_node("MatMul", ["pooled", "history"], ["clicks"]),
        helper.make_node("MatMul", ["profile", "words"], ["read"]),
        helper.make_node("Add", ["read", "offset"], ["shifted"]),
        helper.make_node("Mul", ["shifted", "has_profile"], ["told"]),
        helper.make_node("Mul", ["count", "each"], ["counted"]),
        helper.make_node("Add", ["clicks", "told"], ["both"]),
        helper.make_node("Add", ["both", "counted"], ["vector"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tower",
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", size])
            for name, size in sizes.items()
        ],
        [helper.make_tensor_value_info("vector", TensorProto.FLOAT, ["batch", d])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9)


def wait_for_scorer(url: str) -> None:
    """Returns when every worker of a service answers with the active scorer: each follows by itself."""
    eventually(lambda: all(_answers(url) for _ in range(16)))


def _answers(url: str) -> bool:
    # A new connection each time, which any of the workers may take.
    with ReclmClient(url, retries=Retries(attempts=1)) as client:
        try:
            client.score(k=1)
        except Unavailable:
            return False
    return True
