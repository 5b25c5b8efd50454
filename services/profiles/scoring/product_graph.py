"""An ONNX model of one node, written without the `onnx` package: 30 MB of image for 200 bytes.

The messages and field numbers are those of onnx.proto3, IR version 9.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_UINT8, _INT8, _INT32 = 2, 3, 6
_IR_VERSION, _OPSET = 9, 17


def bytes_product(items: NDArray[np.int8], *, zero: int) -> bytes:
    """Returns a serialised model of the product of a vector and a matrix of bytes.

    Its input `user` is uint8, shape (1, d), its output `scores` int32, shape (1, n): the product
    of `user - zero` and the matrix.

    Args:
        items: The matrix, shape (d, n), by rows.
        zero: The byte that stands for 0 in the input.
    """
    depth, count = items.shape
    node = (
        b"".join(_bytes(1, name) for name in (b"user", b"items", b"zero"))
        + _bytes(2, b"scores")
        + _bytes(4, b"MatMulInteger")
    )
    graph = (
        _bytes(1, node)
        + _bytes(2, b"bytes_product")
        + _bytes(5, _tensor(b"items", _INT8, items.shape, items.tobytes()))
        + _bytes(5, _tensor(b"zero", _UINT8, (), bytes([zero])))
        + _bytes(11, _value(b"user", _UINT8, (1, depth)))
        + _bytes(12, _value(b"scores", _INT32, (1, count)))
    )
    return _number(1, _IR_VERSION) + _bytes(7, graph) + _bytes(8, _number(2, _OPSET))


def _tensor(name: bytes, kind: int, shape: tuple[int, ...], raw: bytes) -> bytes:
    dims = b"".join(_number(1, size) for size in shape)
    return dims + _number(2, kind) + _bytes(8, name) + _bytes(9, raw)


def _value(name: bytes, kind: int, shape: tuple[int, ...]) -> bytes:
    dims = b"".join(_bytes(1, _number(1, size)) for size in shape)
    tensor = _number(1, kind) + _bytes(2, dims)
    return _bytes(1, name) + _bytes(2, _bytes(1, tensor))


def _bytes(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)
