"""What stands for the items of the catalogue: 8 bytes for the id and 8 for the texts, no text.

They are in one Arrow file, which is mapped into memory and so shared between processes. It is in
order of the ids' checksums, so that looking up a few ids of millions reads little of it; a hash
table would be made anew for every partition.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from services.backfill.grouping.partitions import checksums
from services.common.tabular.rules import listed
from services.profiles.domain.profile import canonical_hash

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from reclm_client import Item
    from services.backfill.grouping.partitions import Strings

HALF = 8
DIGEST_SIZE = 2 * HALF
_SIDES: tuple[Literal["left", "right"], ...] = ("left", "right")
_TEXTS_COLUMNS: Mapping[str, pa.DataType] = {"id": pa.string(), "digest": pa.binary(DIGEST_SIZE)}
TEXTS_SCHEMA = pa.schema(_TEXTS_COLUMNS)
_FILE_SCHEMA = pa.schema({**_TEXTS_COLUMNS, "checksum": pa.uint32()})


def item_digest(item: Item) -> bytes:
    """Returns 8 bytes over an item's id, and 8 over its texts."""
    texts = (item.title, item.category, item.description)
    return canonical_hash((item.id,), size=HALF) + canonical_hash(texts, size=HALF)


def inline_digest(item: Item) -> bytes:
    """Returns 8 bytes over an item that the request holds; there is no text behind it."""
    parts = ("inline", item.id, item.title, item.category, item.description)
    return canonical_hash(parts, size=HALF) + bytes(HALF)


def unknown_digest(item_id: str) -> bytes:
    """Returns what stands for an item of which only the id is known."""
    return canonical_hash((item_id,), size=HALF) + bytes(HALF)


def write_texts(path: Path, blocks: Iterable[Sequence[Item]]) -> None:
    """Writes the file; of items with one id the last counts."""
    ids: list[pa.Array[Any]] = [pa.array([], pa.string())]
    digests: list[bytes] = []
    for block in blocks:
        ids.append(pa.array([item.id for item in block], pa.string()))
        digests.append(b"".join(map(item_digest, block)))
    encoded = pa.concat_arrays(ids).dictionary_encode()
    codes = np.asarray(encoded.indices)
    last = np.zeros(len(encoded.dictionary), dtype=np.int64)
    last[codes] = np.arange(len(codes))
    sums = checksums(encoded.dictionary)
    order = np.argsort(sums, kind="stable")
    columns: list[pa.Array[Any]] = [
        encoded.dictionary.take(order),
        digest_array(_matrix(b"".join(digests))[last[order]]),
        pa.array(sums[order], pa.uint32()),
    ]
    batch = pa.record_batch(columns, schema=_FILE_SCHEMA)
    with path.open("wb") as file, pa.ipc.new_file(file, _FILE_SCHEMA) as writer:
        writer.write_batch(batch)


def digest_array(digests: NDArray[np.uint8]) -> pa.Array[Any]:
    """Returns rows of 16 bytes as an Arrow array."""
    raw = pa.py_buffer(np.ascontiguousarray(digests).tobytes())
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(DIGEST_SIZE), len(digests), [None, raw])


def digest_matrix(digests: pa.Array[Any]) -> NDArray[np.uint8]:
    """Returns an Arrow array of 16 bytes each as rows of a matrix, without a copy."""
    buffer = digests.buffers()[1]
    rows = np.frombuffer(b"" if buffer is None else memoryview(buffer), dtype=np.uint8)
    start = digests.offset * DIGEST_SIZE
    return rows[start : start + len(digests) * DIGEST_SIZE].reshape(-1, DIGEST_SIZE)


class Texts:
    """Looks up what stands for an item's text.

    Args:
        path: The file; None where no items were given.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def __reduce__(self) -> tuple[type[Texts], tuple[Path | None]]:
        """Another process opens the file itself."""
        return Texts, (self._path,)

    def digests(self, ids: Strings) -> NDArray[np.uint8]:
        """Returns a matrix with 16 bytes for each id, known or not."""
        found = np.zeros((len(ids), DIGEST_SIZE), dtype=np.uint8)
        missing = np.arange(len(ids))
        if self._loaded is not None:
            names, known, sums = self._loaded
            wanted = checksums(ids)
            positions, ends = (np.searchsorted(sums, wanted, side) for side in _SIDES)
            # Items with one checksum lie side by side; seldom are there two.
            while (trying := missing[positions[missing] < ends[missing]]).size:
                equal = np.asarray(pc.equal(ids.take(trying), names.take(positions[trying])))
                hits = trying[equal]
                found[hits] = known[positions[hits]]
                missing = np.setdiff1d(missing, hits, assume_unique=True)
                positions[missing] += 1
        if missing.size:
            unknown = map(unknown_digest, listed(ids.take(missing)))
            found[missing] = _matrix(b"".join(unknown))
        return found

    @cached_property
    def _loaded(self) -> tuple[Strings, NDArray[np.uint8], NDArray[np.uint32]] | None:
        if self._path is None:
            return None
        with pa.memory_map(str(self._path)) as file:
            batch = pa.ipc.open_file(file).get_batch(0)
        digests = digest_matrix(batch.column("digest"))
        return batch.column("id"), digests, np.asarray(batch.column("checksum"))


def _matrix(raw: bytes) -> NDArray[np.uint8]:
    return np.frombuffer(raw, dtype=np.uint8).reshape(-1, DIGEST_SIZE)
