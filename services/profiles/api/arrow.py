"""Renders embeddings: as an Arrow IPC stream for programs, as JSON for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from fastapi import Response

from reclm_client.schemas.embedding import EmbeddingRow, EmbeddingRows
from services.profiles.errors import NotAcceptable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from services.profiles.stores.codec import Stored

MEDIA_TYPE = "application/vnd.apache.arrow.stream"


def renderer(
    accept: str,
) -> Callable[[Sequence[str], Sequence[Stored | None], str], EmbeddingRows | Response]:
    """Chooses by an Accept header, Arrow before JSON where both are named.

    Raises:
        NotAcceptable: Neither is accepted.
    """
    accepted = {part.partition(";")[0].strip().lower() for part in accept.split(",")}
    if MEDIA_TYPE in accepted:
        return as_arrow
    if accepted & {"application/json", "application/*", "*/*", ""}:
        return as_json
    raise NotAcceptable(f"embeddings come as {MEDIA_TYPE} or application/json")


def as_json(ids: Sequence[str], stored: Sequence[Stored | None], dtype: str) -> EmbeddingRows:
    """Returns embeddings as they go out in JSON: the dimension, and a row for each id."""
    del dtype  # JSON numbers have one type
    dimension, vectors = _vectors(stored)
    rows = [
        EmbeddingRow(
            id=id_,
            vector=None if vector is None else vector.astype(np.float32).tolist(),
            version=None if one is None else one.version_digest.hex(),
        )
        for id_, one, vector in zip(ids, stored, vectors, strict=True)
    ]
    return EmbeddingRows(dimension, rows)


def as_arrow(ids: Sequence[str], stored: Sequence[Stored | None], dtype: str) -> Response:
    """Returns embeddings as a stream of columns id, vector and version, null where missing."""
    import pyarrow as pa

    dimension, found = _vectors(stored)
    if dimension == 0:
        vectors = pa.nulls(len(ids), pa.list_(pa.from_numpy_dtype(np.dtype(dtype)), 0))
    else:
        zeros = np.zeros(dimension, dtype=np.float16)
        matrix = np.stack([zeros if one is None else one for one in found]).astype(dtype)
        vectors = pa.FixedSizeListArray.from_arrays(
            pa.array(matrix.reshape(-1)), dimension, mask=pa.array([one is None for one in found])
        )
    table = pa.table(
        {
            "id": pa.array(ids, pa.string()),
            "vector": vectors,
            "version": pa.array([one and one.version_digest.hex() for one in stored], pa.string()),
        }
    )
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return Response(sink.getvalue().to_pybytes(), media_type=MEDIA_TYPE)


def _vectors(
    stored: Sequence[Stored | None],
) -> tuple[int, list[NDArray[np.float16] | None]]:
    """Returns the dimension of the newest vector, and of all vectors those that have it.

    The others are by an encoder that the service had before: nobody can compare them with these.
    """
    there = [one for one in stored if one]
    if not there:
        return 0, [None] * len(stored)
    dimension = len(max(there, key=lambda one: one.created_ms).vector)
    vectors = [None if one is None else one.vector for one in stored]
    return dimension, [
        one if one is not None and len(one) == dimension else None for one in vectors
    ]
