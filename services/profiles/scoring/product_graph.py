"""An ONNX model of one node, written without the `onnx` package, which would add 30 MB to images.

The messages and field numbers are those of onnx.proto3, IR version 9. The node is ONNX Runtime's
`MatMulNBits`, which is made for language models: its product of one vector with a matrix of bytes
reads memory in order, and so at full bandwidth, even if the matrix is in no cache.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BLOCKS = (16, 32, 64, 128, 256)
"""The numbers of consecutive values that may share a scale."""

_FLOAT, _UINT8 = 1, 2
_IR_VERSION, _OPSET, _MICROSOFT_OPSET = 9, 17, 1
_INT_ATTRIBUTE = 2
_WHOLE_NUMBERS = 4
"""The accuracy level at which the vector is quantised as well, in blocks, to -127 ... 127."""


def bytes_product(
    items: NDArray[np.uint8],
    scales: NDArray[np.float32],
    bias: NDArray[np.float32],
    *,
    depth: int,
) -> bytes:
    """Returns a serialised model of the product of a matrix of bytes and a vector, and a sum.

    Its input `user` is float32, shape (1, depth), its output `scores` float32, shape (1, n).

    Args:
        items: Shape (n, blocks, numbers a block), the last block filled up. 128 stands for 0.
        scales: Shape (n, blocks): what one step of a byte is worth.
        bias: Shape (n,).
        depth: Numbers of an item that count.
    """
    count, _, block = items.shape
    attributes = {
        b"K": depth,
        b"N": count,
        b"bits": 8,
        b"block_size": block,
        b"accuracy_level": _WHOLE_NUMBERS,
    }
    node = (
        b"".join(_bytes(1, name) for name in (b"user", b"items", b"scales", b"", b"", b"bias"))
        + _bytes(2, b"scores")
        + _bytes(4, b"MatMulNBits")
        + b"".join(_bytes(5, _attribute(name, value)) for name, value in attributes.items())
        + _bytes(7, b"com.microsoft")
    )
    graph = (
        _bytes(1, node)
        + _bytes(2, b"bytes_product")
        + _bytes(5, _tensor(b"items", _UINT8, items.shape, items.tobytes()))
        + _bytes(5, _tensor(b"scales", _FLOAT, scales.shape, scales.tobytes()))
        + _bytes(5, _tensor(b"bias", _FLOAT, bias.shape, bias.tobytes()))
        + _bytes(11, _value(b"user", _FLOAT, (1, depth)))
        + _bytes(12, _value(b"scores", _FLOAT, (1, count)))
    )
    opsets = _number(2, _OPSET), _bytes(1, b"com.microsoft") + _number(2, _MICROSOFT_OPSET)
    return _number(1, _IR_VERSION) + _bytes(7, graph) + b"".join(_bytes(8, one) for one in opsets)


def _attribute(name: bytes, value: int) -> bytes:
    return _bytes(1, name) + _number(3, value) + _number(20, _INT_ATTRIBUTE)


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
