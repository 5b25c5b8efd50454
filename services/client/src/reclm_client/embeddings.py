"""Vectors of many profiles as Arrow: the call, and the table it becomes. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reclm_client.calls import Call, encode
from reclm_client.errors import MalformedAnswer
from reclm_client.reading import raise_for_status
from reclm_client.results import Embeddings
from reclm_client.schemas.embedding import EmbeddingsRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reclm_client.reading import Answer
    from reclm_client.schemas.profile import Kind

ARROW = "application/vnd.apache.arrow.stream"
IDS_A_CALL = 1_000


def embeddings(kind: Kind, ids: Sequence[str]) -> Call[Embeddings]:
    """Reads the vectors of at most IDS_A_CALL ids, in half precision, as they are stored."""

    def parse(answer: Answer) -> Embeddings:
        raise_for_status(answer)
        return read_embeddings(answer.body, ids)

    body = encode(EmbeddingsRequest(list(ids), dtype="float16"))
    return Call("POST", f"/embeddings/{kind}", parse, body=body, accept=ARROW)


def read_embeddings(stream: bytes, ids: Sequence[str]) -> Embeddings:
    """Reads an Arrow IPC stream with columns id, vector and version.

    Args:
        stream: The bytes.
        ids: The ids asked for; the rows must be theirs, in this order.

    Returns:
        The vectors, of dimension 0 where none is found: an answer without any does not know it.

    Raises:
        MalformedAnswer: The stream is damaged, or is not the table asked for.
    """
    np, pa, pc = _arrow()
    try:
        with pa.ipc.open_stream(stream) as reader:
            table = reader.read_all().combine_chunks()
        got, vectors, versions = (table.column(name) for name in ("id", "vector", "version"))
    except (pa.ArrowException, OSError, KeyError) as error:
        raise MalformedAnswer(f"the vectors are not the Arrow stream asked for: {error}") from error
    if got.to_pylist() != list(ids):
        raise MalformedAnswer("the vectors are not those of the ids asked for")
    if not pa.types.is_fixed_size_list(vectors.type):
        raise MalformedAnswer(f"the vectors are {vectors.type}, not lists of a fixed size")
    found = np.asarray(vectors.is_valid(), dtype=np.bool_)
    dense = np.zeros((len(ids), vectors.type.list_size if found.any() else 0), dtype=np.float32)
    if found.any():
        # list_flatten leaves out what stands behind a null: these are the found ones' numbers.
        dense[found] = np.asarray(pc.list_flatten(vectors)).reshape(-1, dense.shape[1])
    return Embeddings(tuple(ids), dense, found, tuple(versions.to_pylist()))


def _arrow() -> tuple[Any, Any, Any]:
    try:
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as pc
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "vectors need numpy and pyarrow: pip install 'reclm-client[arrow]'", name=error.name
        ) from error
    return np, pa, pc


def join(parts: Sequence[Embeddings]) -> Embeddings:
    """Puts the answers of several calls together.

    Raises:
        MalformedAnswer: Their vectors differ in dimension: the encoder changed between the calls.
    """
    np, _, _ = _arrow()
    some = [part for part in parts if part.found.any()]
    dimensions = {part.vectors.shape[1] for part in some}
    if len(dimensions) > 1:
        raise MalformedAnswer("the dimension of the vectors changed between two calls; read again")
    found = np.concatenate([np.zeros(0, np.bool_), *(part.found for part in parts)])
    vectors = np.zeros((len(found), max(dimensions, default=0)), np.float32)
    if some:
        vectors[found] = np.concatenate([part.vectors[part.found] for part in some])
    ids = tuple(name for part in parts for name in part.ids)
    return Embeddings(ids, vectors, found, tuple(v for part in parts for v in part.versions))
