"""A trained model's folder with all that its export has to know of where it comes from."""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy import sparse

from recommenders.export.errors import ExportError
from recommenders.models.registry import load

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from recommenders.models.base import Recommender

_FORMAT = 1
_INFO, _MODEL = "trained.json", "model"


@dataclass(frozen=True, kw_only=True, slots=True)
class Provenance:
    """Where a model comes from; all of it JSON.

    Attributes:
        model: `name` in the registry, and `options`, the defaults among them.
        dataset: `name` and `fingerprint`.
        split: `name` and `fingerprint`.
        encoder: `name` and `hash` of what the users' profiles were encoded with; None where the
            model reads none.
        profiles: Version of the profiles that users had in training; None where it is not known,
            or where they had none by a service.
        user_profiles: In words, what users' profiles in training were; None without any.
        seed: Of the split, the parameters and their order.
        metrics: Scenario, part and metric, such as `warm/test/recall@20`, -> its mean over users.
    """

    model: Mapping[str, Any]
    dataset: Mapping[str, str]
    split: Mapping[str, str]
    encoder: Mapping[str, str] | None
    profiles: Mapping[str, Any] | None
    user_profiles: str | None
    seed: int
    metrics: Mapping[str, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Trained:
    """A model, and who its rows are.

    Attributes:
        item_ids: Item row -> id.
        user_ids: User row -> id, of all users of the dataset.
        train: What it was trained on, CSR, (n_users, n_items).
    """

    model: Recommender
    provenance: Provenance
    item_ids: Sequence[str]
    user_ids: Sequence[str]
    train: sparse.csr_array

    def save(self, folder: Path) -> None:
        """Writes a new folder, whole or not at all.

        Raises:
            ExportError: Something is there already.
        """
        refuse_occupied(folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as scratch:
            new = Path(scratch, "new")
            new.mkdir()
            self.model.save(new / _MODEL)
            write_ids(new / "items.parquet", "item_id", self.item_ids)
            write_ids(new / "users.parquet", "user_id", self.user_ids)
            for name in ("indptr", "indices"):
                np.save(new / f"train_{name}.npy", getattr(self.train, name), allow_pickle=False)
            document = {"format": _FORMAT, **asdict(self.provenance)}
            (new / _INFO).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
            new.rename(folder)

    @classmethod
    def read(cls, folder: Path) -> Trained:
        """Reads what `save` wrote.

        Raises:
            ExportError: A file is missing or damaged.
            ModelError: The model's are.
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
    """Refuses a folder's name that is in use.

    Raises:
        ExportError: Something is there already.
    """
    if folder.exists() or folder.is_symlink():
        raise ExportError(f"{folder} is there already; choose another name")
