"""Embeddings of many at once, as both clients read them."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest

from reclm_client import MalformedAnswer, embeddings

if TYPE_CHECKING:
    from tests.services.client.server import Reply, Request, Server
    from tests.services.client.steps import Connect


def arrow(ids: list[str], dimension: int = 2) -> bytes:
    """Vectors [i, i] for an id "i", none for ids that begin with "no".

    Without a single vector the dimension is not known, and says 1.
    """
    missing = [name.startswith("no") for name in ids]
    numbers = [[99.0 if name.startswith("no") else float(name)] * dimension for name in ids]
    flat = pa.array(np.array(numbers, dtype=np.float16).ravel())
    vectors = (
        pa.nulls(len(ids), pa.list_(pa.float16(), 1))
        if all(missing)
        else pa.FixedSizeListArray.from_arrays(flat, dimension, mask=pa.array(missing))
    )
    versions = pa.array([None if absent else "v1" for absent in missing], pa.string())
    table = pa.table({"id": pa.array(ids), "vector": vectors, "version": versions})
    stream = io.BytesIO()
    with pa.ipc.new_stream(stream, table.schema) as writer:
        writer.write_table(table, max_chunksize=2)
    return stream.getvalue()


def test_embeddings_come_as_one_array(
    connect: Connect, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def handler(request: Request, reply: Reply) -> None:
        await reply.start(200, "application/vnd.apache.arrow.stream")
        await reply.send(arrow(request.json()["ids"]))

    server.handler = handler
    monkeypatch.setattr(embeddings, "IDS_A_CALL", 3)
    result = connect().embeddings("user", ["1", "no", "3", "no4", "no5", "no6", "4", "none"])
    assert result.ids == ("1", "no", "3", "no4", "no5", "no6", "4", "none")
    assert result.vectors.dtype == np.float32
    expected = [[1, 1], [0, 0], [3, 3], [0, 0], [0, 0], [0, 0], [4, 4], [0, 0]]
    assert result.vectors.tolist() == expected
    assert result.found.tolist() == [any(vector) for vector in expected]
    assert result.versions == tuple("v1" if any(vector) else None for vector in expected)
    assert [len(request.json()["ids"]) for request in server.requests] == [3, 3, 2]
    assert server.requests[0].headers["accept"] == "application/vnd.apache.arrow.stream"
    assert connect().embeddings("user", ["no"]).vectors.shape == (1, 0)
    assert connect().embeddings("user", []).vectors.shape == (0, 0)


def test_embeddings_of_two_dimensions_are_not_mixed(
    connect: Connect, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def handler(request: Request, reply: Reply) -> None:
        await reply.start(200, "application/vnd.apache.arrow.stream")
        await reply.send(arrow(request.json()["ids"], dimension=1 + len(server.requests)))

    server.handler = handler
    monkeypatch.setattr(embeddings, "IDS_A_CALL", 1)
    with pytest.raises(MalformedAnswer, match="dimension"):
        connect().embeddings("user", ["1", "2"])


@pytest.mark.parametrize("stream", [b"", b"no arrow", arrow(["2", "1"]), arrow(["1", "2"])[:-60]])
def test_embeddings_of_other_ids_or_damaged_are_refused(
    connect: Connect, server: Server, stream: bytes
) -> None:
    async def handler(_: Request, reply: Reply) -> None:
        await reply.start(200, "application/vnd.apache.arrow.stream")
        await reply.send(stream)

    server.handler = handler
    with pytest.raises(MalformedAnswer):
        connect().embeddings("user", ["1", "2"])
