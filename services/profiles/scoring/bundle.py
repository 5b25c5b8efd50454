"""Reads a bundle: checks every file's checksum and shape, and maps the arrays into memory.

The workers of a host share the mapped pages.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from services.profiles.errors import DamagedBundle
from services.profiles.scoring import manifest as manifests
from services.profiles.scoring.content import Contents

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from services.profiles.scoring.manifest import BundleManifest

TOWER = "user_tower.onnx"

_COMMON = (
    "items.parquet",
    "users.parquet",
    "item_bias.npy",
    "seen_indptr.npy",
    "seen_indices.npy",
    "neighbours_indices.npy",
    "neighbours_scores.npy",
)
_OWN = {
    "factors": ("item_vectors.npy", "history_vectors.npy", "user_vectors.npy", TOWER),
    "weights": ("item_weights.npy", "item_prior.npy"),
}
_ROWS_AT_ONCE = 4096


@dataclass(frozen=True, slots=True, eq=False)
class Bundle:
    """An opened bundle.

    Attributes:
        content: The hash of all files, as `content.Contents` computes it.
        item_ids: By item row.
        item_rows: Row by item id.
        user_rows: Row by user id, for the users in the training data.
        item_bias: Shape (n_items,), float32.
        seen_indptr: Shape (n_users + 1,), int64.
        seen_indices: int32: the item rows of each user in the training data.
        arrays: The arrays of the bundle's kind, by file name without suffix, float32.
    """

    folder: Path
    content: str
    manifest: BundleManifest
    item_ids: list[str]
    item_rows: dict[str, int]
    user_rows: dict[str, int]
    item_bias: NDArray[np.float32]
    seen_indptr: NDArray[np.int64]
    seen_indices: NDArray[np.int32]
    arrays: dict[str, NDArray[np.float32]]

    def seen(self, user: int | None) -> NDArray[np.int32]:
        """Returns the item rows of a user row in the training data; none for None."""
        if user is None:
            return np.empty(0, np.int32)
        return self.seen_indices[self.seen_indptr[user] : self.seen_indptr[user + 1]]


def load(folder: Path, contents: Contents | None = None) -> Bundle:
    """Opens a bundle. Takes about as long as hashing its files.

    Args:
        folder: Of the bundle.
        contents: Has hashes of files that it has read before.

    Raises:
        DamagedBundle: A file is missing or does not match the manifest, or the arrays do not match
            each other, or the files are replaced meanwhile.
    """
    contents = contents or Contents()
    content = contents.of(folder)
    manifest = manifests.read(folder)
    _check_files(folder, manifest, contents)
    item_ids = _ids(folder / "items.parquet", "item_id", manifest.n_items)
    user_ids = _ids(folder / "users.parquet", "user_id", manifest.n_users)
    n_items, d = manifest.n_items, manifest.dimension
    shapes: dict[str, tuple[int, ...]]
    if manifest.kind == "factors":
        shapes = {
            "item_vectors": (n_items, d),
            "history_vectors": (n_items, manifest.history_dimension),
            "user_vectors": (manifest.n_users, d),
        }
    else:
        shapes = {"item_weights": (n_items, n_items), "item_prior": (n_items,)}
    arrays = {name: _array(folder, name, np.float32, shape) for name, shape in shapes.items()}
    indptr = _array(folder, "seen_indptr", np.int64, (manifest.n_users + 1,))
    indices = _array(folder, "seen_indices", np.int32, (None,))
    _check_seen(folder, indptr, indices, n_items)
    neighbours = _array(folder, "neighbours_indices", np.int32, (n_items, None))
    _array(folder, "neighbours_scores", np.float32, neighbours.shape)
    bundle = Bundle(
        folder=folder,
        content=content,
        manifest=manifest,
        item_ids=item_ids,
        item_rows=_rows(folder, "item", item_ids),
        user_rows=_rows(folder, "user", user_ids),
        item_bias=_array(folder, "item_bias", np.float32, (n_items,)),
        seen_indptr=indptr,
        seen_indices=indices,
        arrays=arrays,
    )
    check_same(bundle, contents)
    return bundle


def check_same(bundle: Bundle, contents: Contents) -> None:
    """Checks that a folder still has the content that was opened.

    Raises:
        DamagedBundle: It has not, or cannot be read.
    """
    if contents.of(bundle.folder) != bundle.content:
        raise DamagedBundle(
            f"{bundle.folder.name}: its files were replaced while it was loaded; put a new bundle "
            "in its place by renaming a complete folder"
        )


def _check_files(folder: Path, manifest: BundleManifest, contents: Contents) -> None:
    missing = [name for name in (*_COMMON, *_OWN[manifest.kind]) if name not in manifest.files]
    if missing:
        raise DamagedBundle(f"{folder.name}: the manifest does not list {', '.join(missing)}")
    for name, record in manifest.files.items():
        path = folder / name
        try:
            size = path.stat().st_size
            if size != record.bytes:
                raise DamagedBundle(
                    f"{folder.name}: {name} has {size} bytes, and the manifest says "
                    f"{record.bytes}; copy the bundle again"
                )
        except OSError as error:
            raise DamagedBundle(f"{folder.name}: {name}: {error.strerror}") from error
        if contents.file(path) != record.sha256:
            raise DamagedBundle(
                f"{folder.name}: {name} does not have the checksum that the manifest says; "
                "copy the bundle again"
            )


def _ids(path: Path, column: str, count: int) -> list[str]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    where = f"{path.parent.name}: {path.name}"
    try:
        table = pq.read_table(path, columns=[column])
        values = table.column(column).cast(pa.string())
    except (OSError, KeyError, pa.ArrowException) as error:
        raise DamagedBundle(f"{where} has no column {column!r} of strings: {error}") from error
    if len(values) != count or values.null_count:
        raise DamagedBundle(
            f"{where} has {len(values)} rows, {values.null_count} of them null, and the manifest "
            f"says {count}"
        )
    return [str(value) for value in values.to_pylist()]


def _rows(folder: Path, what: str, ids: list[str]) -> dict[str, int]:
    rows = {id_: row for row, id_ in enumerate(ids)}
    if len(rows) != len(ids):
        raise DamagedBundle(f"{folder.name}: {len(ids) - len(rows)} {what} id(s) come twice")
    return rows


def _array(folder: Path, name: str, dtype: type[Any], shape: tuple[int | None, ...]) -> Any:  # noqa: ANN401 - the dtype is the argument's
    """Maps an array into memory; None in `shape` stands for any length."""
    where = f"{folder.name}: {name}.npy"
    try:
        array = np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise DamagedBundle(f"{where} is not a plain NumPy array: {error}") from error
    fits = array.ndim == len(shape) and all(
        want in {None, has} for want, has in zip(shape, array.shape, strict=True)
    )
    if array.dtype != dtype or not fits:
        expected = tuple("any" if length is None else length for length in shape)
        raise DamagedBundle(
            f"{where} is {array.dtype} of shape {array.shape}, and should be "
            f"{np.dtype(dtype)} of shape {expected}"
        )
    if array.dtype == np.float32 and not _finite(array):
        raise DamagedBundle(f"{where} has values that are not finite numbers")
    # A plain view of the mapped pages, since slices of np.memmap are slow.
    return np.asarray(array)


def _finite(array: NDArray[np.float32]) -> bool:
    return all(
        np.isfinite(array[start : start + _ROWS_AT_ONCE]).all()
        for start in range(0, len(array), _ROWS_AT_ONCE)
    )


def _check_seen(
    folder: Path, indptr: NDArray[np.int64], indices: NDArray[np.int32], n_items: int
) -> None:
    whole = indptr[0] == 0 and indptr[-1] == len(indices) and bool((np.diff(indptr) >= 0).all())
    if not whole:
        raise DamagedBundle(f"{folder.name}: seen_indptr.npy does not divide seen_indices.npy")
    if len(indices) and not (indices.min() >= 0 and indices.max() < n_items):
        raise DamagedBundle(f"{folder.name}: seen_indices.npy names rows that no item has")
