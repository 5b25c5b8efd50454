"""Renders embeddings: as an Arrow IPC stream for programs, as JSON for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from fastapi import Response
from pydantic_core import to_json

from services.profiles.errors import NotAcceptable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from services.profiles.stores.codec import Stored

MEDIA_TYPE = "application/vnd.apache.arrow.stream"


def renderer(accept: str) -> Callable[[Sequence[str], Sequence[Stored | None], str], Response]:
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


def as_json(ids: Sequence[str], stored: Sequence[Stored | None], dtype: str) -> Response:
    """Returns embeddings as JSON: `dimension`, and a row for each id."""
    del dtype  # JSON numbers have one type
    rows = [
        {
            "id": id_,
            "vector": one and one.vector.astype(np.float32).tolist(),
            "version": one and one.version_digest.hex(),
        }
        for id_, one in zip(ids, stored, strict=True)
    ]
    body = {"dimension": _dimension(stored), "rows": rows}
    return Response(to_json(body), media_type="application/json")


def as_arrow(ids: Sequence[str], stored: Sequence[Stored | None], dtype: str) -> Response:
    """Returns embeddings as a stream of columns id, vector and version, null where missing."""
    import pyarrow as pa

    dimension = _dimension(stored)
    if dimension == 0:
        vectors = pa.nulls(len(ids), pa.list_(pa.from_numpy_dtype(np.dtype(dtype)), 0))
    else:
        zeros = np.zeros(dimension, dtype=np.float16)
        matrix = np.stack([one.vector if one else zeros for one in stored]).astype(dtype)
        vectors = pa.FixedSizeListArray.from_arrays(
            pa.array(matrix.reshape(-1)), dimension, mask=pa.array([one is None for one in stored])
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


def _dimension(stored: Sequence[Stored | None]) -> int:
    return next((len(one.vector) for one in stored if one), 0)
