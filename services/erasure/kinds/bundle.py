"""Scorer bundles of `reclm-recommend export`."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from services.common.files import write_json
from services.common.hashing import sha256_of
from services.erasure.errors import ErasureError
from services.erasure.kinds.manifests import check_hashes, document_of, no_other_ids, nobody_else
from services.erasure.plan import Count, Plan
from services.erasure.rows import save_rows, without_rows
from services.profiles.scoring.manifest import FILE, FORMATS

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from services.erasure.plan import Write
    from services.erasure.targets import Targets

    Positions = NDArray[np.int64]

_USERS, _ITEMS = "users.parquet", "items.parquet"
_INDPTR, _INDICES = "seen_indptr.npy", "seen_indices.npy"
_NEIGHBOURS, _COSINES = "neighbours_indices.npy", "neighbours_scores.npy"
_BY_USER = ("user_vectors.npy",)
_BY_ITEM = ("item_bias.npy", "item_vectors.npy", "history_vectors.npy", "item_prior.npy")
_BY_ITEM_TWICE = ("item_weights.npy",)

_LEARNED = (
    "vectors and weights of items, with what the model learned from everybody's interactions "
    "together: train again from the rewritten dataset"
)
_LOADED = (
    "workers that have loaded the bundle, until it is activated again or they restart; the deny list "
    "covers this meanwhile"
)


class BundleFolder:
    """A bundle: ids of rows, arrays with those rows, and a manifest with a checksum of each file."""

    name = "bundle"
    exclusive = staticmethod(nobody_else)
    requested_ids = staticmethod(no_other_ids)

    def recognises(self, folder: Path) -> bool:
        """Returns whether the manifest is that of a bundle."""
        document = document_of(folder / FILE)
        return document is not None and {"files", "n_users", "n_items"} <= set(document)

    def plan(self, folder: Path, targets: Targets) -> Plan:
        """Drops the users' rows, the items' rows and columns, and all references to them."""
        manifest = document_of(folder / FILE) or {}
        if manifest.get("format") not in FORMATS:
            raise ErasureError(
                f"{folder / FILE} has format {manifest.get('format')!r}, and this release rewrites "
                f"formats {' and '.join(map(str, FORMATS))}; export the bundle again"
            )
        users = _Rows(folder / _USERS, "user_id", targets.users)
        items = _Rows(folder / _ITEMS, "item_id", targets.items)
        counts = (users.count("users"), items.count("items"))
        if not (users.change or items.change):
            return Plan(counts=counts)
        if not len(items.kept):
            raise ErasureError(f"{folder}: no item would be left; delete the bundle instead")
        check_hashes(folder, {name: one["sha256"] for name, one in manifest["files"].items()})
        writes = _writes(folder, manifest["files"], users, items)

        def finish(new: Path) -> None:
            files = {
                name: {"sha256": sha256_of(new / name), "bytes": (new / name).stat().st_size}
                for name in manifest["files"]
            }
            sizes = {"n_users": len(users.kept), "n_items": len(items.kept)}
            write_json(new / FILE, {**manifest, **sizes, "files": files})

        return Plan(
            counts=counts,
            writes=writes,
            finish=finish,
            remains=(_LEARNED, _LOADED),
        )


class _Rows:
    """The rows of a bundle's users or items that stay."""

    def __init__(self, path: Path, column: str, gone: frozenset[str]) -> None:
        self._file = without_rows(path, {column: gone})
        try:
            ids = pq.read_table(path, columns=[column], partitioning=None)[column].to_pylist()
        except (pa.ArrowException, OSError) as error:
            raise ErasureError(f"{path} cannot be read: {error}") from error
        stays = np.array([id_ not in gone for id_ in ids], np.bool_)
        self.kept: Positions = np.flatnonzero(stays)
        self.renumbered = np.where(stays, np.cumsum(stays) - 1, -1)

    @property
    def change(self) -> Write | None:
        """Writes the file of ids; None if all stay."""
        return self._file.write

    def count(self, what: str) -> Count:
        """Returns how many there are and will be."""
        return self._file.count(what)


def _writes(folder: Path, files: dict[str, Any], users: _Rows, items: _Rows) -> dict[str, Write]:
    def rows(name: str, *axes: Positions) -> Write:
        return lambda target: save_rows(_mapped(folder / name), target, *axes)

    def neighbours(name: str) -> Write:
        return lambda target: _save_neighbours(folder, name, target, items)

    seen = functools.cache(lambda: _seen(folder, users, items))
    writes: dict[str, Write] = {
        _INDPTR: lambda target: np.save(target, seen()[0], allow_pickle=False),
        _INDICES: lambda target: np.save(target, seen()[1], allow_pickle=False),
    }
    if users.change is not None:
        writes[_USERS] = users.change
        writes |= {name: rows(name, users.kept) for name in _BY_USER if name in files}
    if items.change is not None:
        writes[_ITEMS] = items.change
        writes |= {name: rows(name, items.kept) for name in _BY_ITEM if name in files}
        writes |= {
            name: rows(name, items.kept, items.kept) for name in _BY_ITEM_TWICE if name in files
        }
        writes |= {name: neighbours(name) for name in (_NEIGHBOURS, _COSINES)}
    return writes


def _mapped(path: Path) -> NDArray[Any]:
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise ErasureError(f"{path} cannot be read: {error}") from error
    return array


def _seen(folder: Path, users: _Rows, items: _Rows) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Returns the training items of the users that stay, as compressed sparse rows."""
    lengths = np.diff(_mapped(folder / _INDPTR))
    rows = items.renumbered[_mapped(folder / _INDICES)]
    user_of = np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)
    stays = (users.renumbered[user_of] >= 0) & (rows >= 0)
    left = np.bincount(user_of[stays], minlength=len(lengths))[users.kept]
    indptr = np.concatenate([[0], np.cumsum(left)]).astype(np.int64)
    return indptr, rows[stays].astype(np.int32)


def _save_neighbours(folder: Path, name: str, target: Path, items: _Rows) -> None:
    """Writes neighbours or their cosines without the items that go.

    Each item keeps as many as the one that loses most, so that the rows are of one length.
    """
    indices = items.renumbered[_mapped(folder / _NEIGHBOURS)[items.kept]]
    left = np.argsort(indices < 0, axis=1, kind="stable")
    left = left[:, : int((indices >= 0).sum(axis=1).min())]
    values = indices if name == _NEIGHBOURS else _mapped(folder / name)[items.kept]
    dtype = np.int32 if name == _NEIGHBOURS else values.dtype
    np.save(target, np.take_along_axis(values, left, axis=1).astype(dtype), allow_pickle=False)
