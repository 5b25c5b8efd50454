from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

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


def test_vectors_of_an_encoder_that_was_changed_since_are_left_out() -> None:
    stored = [_stored(1, 3), None, _stored(3, 2), _stored(2, 3)]
    ids = ["old", "none", "new", "older"]
    table = pa.ipc.open_stream(as_arrow(ids, stored, "float32").body).read_all()
    assert table["vector"].to_pylist() == [None, None, [0.5, 0.5], None]
    assert table["version"].null_count == 1
    document = as_json(ids, stored, "float32")
    assert document.dimension == 2
    assert [row.vector for row in document.rows] == [None, None, [0.5, 0.5], None]


def test_of_nobody_there_is_an_empty_table() -> None:
    table = pa.ipc.open_stream(as_arrow(["a"], [None], "float16").body).read_all()
    assert table["vector"].to_pylist() == [None]
