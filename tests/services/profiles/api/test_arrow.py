from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from reclm_client.schemas import adapter
from reclm_client.schemas.embedding import EmbeddingRows
from services.profiles.api.arrow import as_arrow, as_json
from services.profiles.stores import codec

if TYPE_CHECKING:
    from services.profiles.stores.codec import Stored


def _stored(created_ms: int, dimension: int) -> Stored:
    digests = b"v" * 8, b"r" * 8, b"i" * 16
    header = codec._HEADER.pack(codec.LAYOUT, 0, 0, *digests, created_ms, 0, 0)
    stored = codec.look(header + np.full(dimension, 0.5, np.float16).tobytes())
    assert stored is not None
    return stored


async def _document(ids: list[str], stored: list[Stored | None]) -> EmbeddingRows:
    pieces = [piece async for piece in as_json(ids, stored)]
    return adapter(EmbeddingRows).validate_json(b"".join(pieces))


def test_vectors_of_an_encoder_that_was_changed_since_are_left_out() -> None:
    stored = [_stored(1, 3), None, _stored(3, 2), _stored(2, 3)]
    ids = ["old", "none", "new", "older"]
    table = pa.ipc.open_stream(as_arrow(ids, stored, "float32")).read_all()
    assert table["vector"].to_pylist() == [None, None, [0.5, 0.5], None]
    assert table["version"].null_count == 1
    document = asyncio.run(_document(ids, stored))
    assert document.dimension == 2
    assert [row.id for row in document.rows] == ids
    assert [row.vector for row in document.rows] == [None, None, [0.5, 0.5], None]
    assert [row.version for row in document.rows] == ["76" * 8, None, "76" * 8, "76" * 8]


def test_of_nobody_there_is_an_empty_table() -> None:
    table = pa.ipc.open_stream(as_arrow(["a"], [None], "float16")).read_all()
    assert table["vector"].to_pylist() == [None]


def test_others_have_a_turn_while_many_vectors_are_written() -> None:
    """Ten thousand in one go held up all other requests for almost a second."""
    count = 1000
    stored: list[Stored | None] = [_stored(1, 3)] * count
    ids = [f"user {number}" for number in range(count)]
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def read() -> EmbeddingRows:
        ticking = asyncio.create_task(other())
        try:
            return await _document(ids, stored)
        finally:
            ticking.cancel()

    document = asyncio.run(read())
    assert [row.id for row in document.rows] == ids
    assert document.rows[-1].vector == [0.5, 0.5, 0.5]
    assert turns >= count // 100
