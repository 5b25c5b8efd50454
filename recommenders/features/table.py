"""A table of profiles: id, text, vector."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from recommenders.data.errors import DatasetError
from services.common import profile_tables

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

_COLUMNS = list(profile_tables.COLUMNS)


@dataclass(frozen=True, slots=True)
class ProfileTable:
    """Profiles with their vectors.

    Attributes:
        ids: Distinct ids of users or items.
        texts: The profiles' texts, in the order of `ids`.
        vectors: Float32, (len(ids), dimension).
    """

    ids: tuple[str, ...]
    texts: tuple[str, ...]
    vectors: NDArray[np.float32]

    def __post_init__(self) -> None:
        """Validates the columns.

        Raises:
            DatasetError: The lengths differ, an id occurs twice, or a vector is not finite.
        """
        if not len(self.ids) == len(self.texts) == len(self.vectors) or self.vectors.ndim != 2:
            raise DatasetError(
                f"profiles: {len(self.ids)} ids, {len(self.texts)} texts and vectors of shape "
                f"{self.vectors.shape} do not match"
            )
        if len(set(self.ids)) < len(self.ids):
            seen: set[str] = set()
            for name in self.ids:
                if name in seen:
                    raise DatasetError(f"profiles: id {name!r} occurs twice")
                seen.add(name)
        wrong = np.flatnonzero(~np.isfinite(self.vectors).all(axis=1))
        if wrong.size:
            raise DatasetError(f"profiles: the vector of {self.ids[wrong[0]]!r} is not finite")

    @property
    def dimension(self) -> int:
        """Dimension of the vectors."""
        return int(self.vectors.shape[1])

    def aligned(self, ids: Sequence[str]) -> NDArray[np.float32]:
        """Returns the vectors of some ids, (len(ids), dimension); zeros for ids without a profile."""
        rows, found = self._rows(ids)
        vectors = np.zeros((len(ids), self.dimension), np.float32)
        vectors[found] = self.vectors[rows[found]]
        return vectors

    def texts_of(self, ids: Sequence[str]) -> list[str]:
        """Returns the texts of some ids in their order; empty for ids without a profile."""
        rows, found = self._rows(ids)
        return [self.texts[row] if there else "" for row, there in zip(rows, found, strict=True)]

    def among(self, ids: Collection[str]) -> ProfileTable:
        """Returns the profiles whose ids are in a collection, in the order of this table."""
        rows = [row for row, name in enumerate(self.ids) if name in ids]
        if len(rows) == len(self.ids):
            return self
        return ProfileTable(
            tuple(self.ids[row] for row in rows),
            tuple(self.texts[row] for row in rows),
            self.vectors[rows],
        )

    def digest(self) -> str:
        """Returns a hash of the table, 16 hexadecimal digits."""
        return profile_tables.digest(self.ids, self.texts, self.vectors)

    @classmethod
    def read(cls, path: Path) -> ProfileTable:
        """Reads a Parquet file, or a folder of them as written by a backfill.

        Raises:
            DatasetError: The path is missing or cannot be read, or a column is missing.
        """
        if not path.exists():
            raise DatasetError(f"{path} is missing")
        try:
            # A backfill gives unfinished files a name with a leading underscore, which is ignored.
            files = ds.dataset(path, format="parquet", exclude_invalid_files=path.is_dir())
            if missing := set(_COLUMNS) - set(files.schema.names):
                raise DatasetError(
                    f"{path} has no column {', '.join(sorted(missing))}; profiles have "
                    f"{', '.join(_COLUMNS)}"
                )
            table = files.to_table(columns=_COLUMNS)
        except (pa.ArrowException, OSError) as error:
            raise DatasetError(f"{path} cannot be read: {error}") from error
        return cls.of(table)

    @classmethod
    def of(cls, table: pa.Table) -> ProfileTable:
        """Converts an Arrow table with columns id, text and vector.

        Raises:
            DatasetError: Vectors have different lengths, or a value is null.
        """
        try:
            return cls(*profile_tables.columns_of(table))
        except ValueError as error:
            raise DatasetError(str(error)) from error

    def write(self, path: Path) -> None:
        """Writes a Parquet file with vectors in half precision, as the service stores them."""
        vectors = pa.array(self.vectors.astype(np.float16).ravel())
        table = pa.table(
            [
                pa.array(self.ids, pa.string()),
                pa.array(self.texts, pa.string()),
                pa.FixedSizeListArray.from_arrays(vectors, max(self.dimension, 1)),
            ],
            names=_COLUMNS,
        )
        pq.write_table(table, path, compression="zstd", row_group_size=10_000)

    def _rows(self, ids: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        row_of = {name: row for row, name in enumerate(self.ids)}
        rows = np.fromiter((row_of.get(name, -1) for name in ids), np.int64, len(ids))
        return rows, rows >= 0
