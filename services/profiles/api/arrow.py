"""Renders embeddings: as an Arrow IPC stream for programs, as JSON for people.

Ten thousand vectors of 384 numbers are 40 MB of JSON and take half a second to write. So JSON goes
out in pieces, between which the event loop answers others; Arrow is made in a thread.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import numpy as np
from fastapi import Response
from fastapi.responses import StreamingResponse
from pydantic_core import to_json

from services.profiles.errors import NotAcceptable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from numpy.typing import NDArray

    from services.profiles.stores.codec import Stored

    Renderer = Callable[[Sequence[str], Sequence[Stored | None], str], Awaitable[Response]]

MEDIA_TYPE = "application/vnd.apache.arrow.stream"
JSON = "application/json"

_PIECE = 64
"""Rows of JSON that are written at a time, in 2 to 4 ms."""


def renderer(accept: str) -> Renderer:
    """Chooses by an Accept header, Arrow before JSON where both are named.

    Raises:
        NotAcceptable: Neither is accepted.
    """
    accepted = {part.partition(";")[0].strip().lower() for part in accept.split(",")}
    if MEDIA_TYPE in accepted:
        return _arrow_response
    if accepted & {JSON, "application/*", "*/*", ""}:
        return _json_response
    raise NotAcceptable(f"embeddings come as {MEDIA_TYPE} or {JSON}")


async def as_json(ids: Sequence[str], stored: Sequence[Stored | None]) -> AsyncIterator[bytes]:
    """Yields embeddings as an `EmbeddingRows` document, in pieces of whole rows."""
    dimension, vectors = _vectors(stored)
    yield b'{"dimension":%d,"rows":[' % dimension
    for start in range(0, len(ids), _PIECE):
        rows = [
            {
                "id": ids[row],
                "vector": None if (vector := vectors[row]) is None else _numbers(vector),
                "version": None if (one := stored[row]) is None else one.version_digest.hex(),
            }
            for row in range(start, min(start + _PIECE, len(ids)))
        ]
        separator = b"," if start else b""
        # Without the brackets of this piece's list.
        yield separator + to_json(rows)[1:-1]
        # A server that can write at once does not wait, and nobody else would have a turn.
        await asyncio.sleep(0)
    yield b"]}"


def as_arrow(ids: Sequence[str], stored: Sequence[Stored | None], dtype: str) -> bytes:
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
    written: bytes = sink.getvalue().to_pybytes()
    return written


async def _json_response(
    ids: Sequence[str], stored: Sequence[Stored | None], dtype: str
) -> Response:
    del dtype  # JSON numbers have one type
    return StreamingResponse(as_json(ids, stored), media_type=JSON)


async def _arrow_response(
    ids: Sequence[str], stored: Sequence[Stored | None], dtype: str
) -> Response:
    body = await asyncio.to_thread(as_arrow, ids, stored, dtype)
    return Response(body, media_type=MEDIA_TYPE)


def _numbers(vector: NDArray[np.float16]) -> list[float]:
    numbers: list[float] = vector.astype(np.float32).tolist()
    return numbers


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
