"""A trained model's folder, with the provenance that its export records."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy import sparse

from recommenders.export.errors import ExportError
from recommenders.models.registry import load
from services.common.files import atomic_folder, write_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from recommenders.models.base import Recommender

_FORMAT = 1
_INFO, _MODEL = "trained.json", "model"


@dataclass(frozen=True, kw_only=True, slots=True)
class Provenance:
    """Where a model comes from; all values are JSON.

    Attributes:
        model: `name` in the registry, and `options`, the defaults among them.
        dataset: `name` and `fingerprint`.
        split: `name` and `fingerprint`.
        encoder: `name` and `hash` of the encoder of the users' profiles; None if the model reads
            no profiles.
        profiles: Version of the users' profiles in training; None if it is not known or the
            profiles do not come from a service.
        user_profiles: Where users' profiles in training came from; None without any.
        seed: Of the split, the parameters and the order of training.
        metrics: Scenario, part and metric, such as `warm/test/recall@20`, -> its mean over users.
        gate: By how much profiles may be worse than none, by segments (`bounds.profile_bounds`); None
            where that was not measured, or no profiles of users are read.
    """

    model: Mapping[str, Any]
    dataset: Mapping[str, str]
    split: Mapping[str, str]
    encoder: Mapping[str, str] | None
    profiles: Mapping[str, Any] | None
    user_profiles: str | None
    seed: int
    metrics: Mapping[str, float]
    gate: Mapping[str, Any] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Trained:
    """A model, with the ids of its rows.

    Attributes:
        item_ids: Item row -> id.
        user_ids: User row -> id, of all users of the dataset.
        train: The training interactions, CSR, (n_users, n_items).
    """

    model: Recommender
    provenance: Provenance
    item_ids: Sequence[str]
    user_ids: Sequence[str]
    train: sparse.csr_array

    def save(self, folder: Path) -> None:
        """Writes a new folder atomically.

        Raises:
            ExportError: The path exists.
        """
        refuse_occupied(folder)
        with atomic_folder(folder) as new:
            self.model.save(new / _MODEL)
            write_ids(new / "items.parquet", "item_id", self.item_ids)
            write_ids(new / "users.parquet", "user_id", self.user_ids)
            for name in ("indptr", "indices"):
                np.save(new / f"train_{name}.npy", getattr(self.train, name), allow_pickle=False)
            write_json(new / _INFO, {"format": _FORMAT, **asdict(self.provenance)})

    @classmethod
    def read(cls, folder: Path) -> Trained:
        """Reads a folder that `save` wrote.

        Raises:
            ExportError: A file is missing or damaged.
            ModelError: A file of the model is missing or damaged.
        """
        try:
            document = json.loads((folder / _INFO).read_bytes())
            if document.pop("format") != _FORMAT:
                raise ExportError(f"{folder / _INFO} has another format; train the model again")
            provenance = Provenance(**document)
            items = _read_ids(folder / "items.parquet", "item_id")
            users = _read_ids(folder / "users.parquet", "user_id")
            indptr, indices = (
                np.load(folder / f"train_{name}.npy", allow_pickle=False)
                for name in ("indptr", "indices")
            )
            ones = np.ones(len(indices), np.float32)
            train = sparse.csr_array((ones, indices, indptr), shape=(len(users), len(items)))
        except FileNotFoundError as error:
            raise ExportError(
                f"{error.filename} is missing; `reclm-recommend train` makes what can be exported"
            ) from error
        except (ValueError, KeyError, TypeError, AttributeError, pa.ArrowException) as error:
            raise ExportError(f"{folder} cannot be read: {error!r}; train it again") from error
        return cls(
            model=load(folder / _MODEL),
            provenance=provenance,
            item_ids=items,
            user_ids=users,
            train=train,
        )


def write_ids(path: Path, column: str, ids: Sequence[str]) -> None:
    """Writes ids as a Parquet file of one column, in their order."""
    pq.write_table(pa.table({column: pa.array(ids, pa.string())}), path, compression="zstd")


def _read_ids(path: Path, column: str) -> list[str]:
    ids: list[str] = np.asarray(pq.read_table(path, columns=[column])[column]).tolist()
    return ids


def refuse_occupied(folder: Path) -> None:
    """Refuses a path that exists.

    Raises:
        ExportError: The path exists.
    """
    if folder.exists() or folder.is_symlink():
        raise ExportError(f"{folder} is there already; choose another name")
