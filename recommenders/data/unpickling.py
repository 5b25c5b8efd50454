"""Reads pickles from other people without running code that they name.

A pickle is a program: it names functions and calls them. The few names in published datasets are
mapped to builders of our own, so that a pickle has no access to numpy, scipy or Python's builtins,
and every other name is refused.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import re
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from recommenders.data.errors import DatasetError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_DTYPE = re.compile(r"b1|[iu][1248]|f[248]")
_ORDERS = ("<", ">", "|")
_ARRAY_FORMAT, _DTYPE_FORMAT = 1, 3
_PUTS = ("PUT", "BINPUT", "LONG_BINPUT")

# Stands for `numpy.ndarray`. A marker, since a pickle could call or change a class.
_NDARRAY = "numpy.ndarray"


def load_pickle(path: Path) -> object:
    """Reads a pickle of dicts, lists, strings, numbers, numpy arrays or one scipy COO matrix.

    Returns:
        The pickled value. NumPy scalars become Python numbers; a matrix, which must be the whole
        pickle, becomes a `coo_array` with checked indices.

    Raises:
        DatasetError: The file is missing or damaged, or names anything else; the message has the
            name.
    """
    try:
        raw = path.read_bytes()
        _check_memory(raw)
        unpickler = _Unpickler(io.BytesIO(raw), path)
        found = unpickler.load()
        if isinstance(found, np.ndarray):
            return found.view(np.ndarray)
        return _matrix(found) if isinstance(found, unpickler.matrix) else found
    except FileNotFoundError as error:
        raise DatasetError(f"{path} is missing") from error
    except DatasetError:
        raise
    # With a damaged pickle the unpickler may raise nearly any exception.
    except Exception as error:
        raise DatasetError(f"{path} cannot be unpickled: {error}") from error


def _check_memory(raw: bytes) -> None:
    """Refuses a pickle that asks for memory out of proportion to its size.

    The unpickler makes room for a length, or for a place in its memo, before it looks whether
    there is that much: nine bytes can take a gigabyte. pickletools reads no further than the end, and an
    honest pickle fills its memo from 0 on.
    """
    for opcode, argument, _ in pickletools.genops(raw):
        if opcode.name in _PUTS and isinstance(argument, int) and argument >= len(raw):
            raise ValueError(f"{opcode.name} {argument:,} in a pickle of {len(raw):,} bytes")


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: IO[bytes], path: Path) -> None:
        super().__init__(file)
        self._path = path
        # A new class for each load, since a pickle can set attributes of classes that it gets.
        self.matrix = type("Matrix", (), {})
        builders: dict[tuple[str, str], Any] = {
            ("numpy", "ndarray"): _NDARRAY,
            ("numpy", "dtype"): self._dtype,
            ("scipy.sparse._coo", "coo_matrix"): self.matrix,
            ("scipy.sparse.coo", "coo_matrix"): self.matrix,
        }
        for core in ("numpy._core", "numpy.core"):
            builders[f"{core}.multiarray", "_reconstruct"] = self._empty
            builders[f"{core}.multiarray", "scalar"] = self._scalar
            builders[f"{core}.numeric", "_frombuffer"] = self._from_buffer
        self._builders = builders

    def find_class(self, module: str, name: str) -> object:
        try:
            return self._builders[module, name]
        except KeyError:
            raise DatasetError(
                f"{self._path} names {module}.{name}, which no dataset needs; it may do harm, and "
                "was not run"
            ) from None

    # Bound methods, since a pickle could change the default arguments of a function.

    def _dtype(self, code: str, *_: object) -> _DType:
        return _DType(code)

    def _empty(self, kind: object, *_: object) -> _Array:
        if kind is not _NDARRAY:
            raise ValueError(f"an array of class {kind!r}")
        return _Array.__new__(_Array, 0, np.uint8)

    def _scalar(self, dtype: _DType, raw: bytes) -> object:
        return _array(raw, dtype, (), fortran=False).item()

    def _from_buffer(
        self, raw: bytes, dtype: _DType, shape: tuple[int, ...], order: str
    ) -> NDArray[Any]:
        return _array(bytes(raw), dtype, shape, fortran=order == "F")


class _DType:
    """Stands for a dtype while the pickle is read; only plain numeric types are accepted."""

    def __init__(self, code: str) -> None:
        if not isinstance(code, str) or not _DTYPE.fullmatch(code):
            raise ValueError(f"an array of type {code!r}, not of numbers")
        self.value = np.dtype(code)

    def __setstate__(self, state: tuple[object, ...]) -> None:
        version, order, *rest = state
        if version != _DTYPE_FORMAT or order not in _ORDERS or rest[:3] != [None] * 3:
            raise ValueError(f"an array of type {state!r}")
        self.value = np.dtype(f"{order}{self.value.str[1:]}")


class _Array(np.ndarray[Any, Any]):
    """An array that checks the values that a pickle sets."""

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        version, shape, dtype, fortran, raw = state
        if version != _ARRAY_FORMAT:
            raise ValueError(f"an array in format {version!r}")
        whole = _array(raw, dtype, shape, fortran=bool(fortran))
        checked: Any = (_ARRAY_FORMAT, whole.shape, whole.dtype, bool(fortran), raw)
        super().__setstate__(checked)


def _array(raw: bytes, dtype: _DType, shape: tuple[int, ...], *, fortran: bool) -> NDArray[Any]:
    if not isinstance(dtype, _DType) or not isinstance(raw, bytes):
        raise ValueError("an array that is not of numbers")  # noqa: TRY004 - the data is wrong
    if math.prod(shape) * dtype.value.itemsize != len(raw):
        raise ValueError(f"an array of shape {shape} in {len(raw)} bytes")
    return np.frombuffer(raw, dtype.value).reshape(shape, order="F" if fortran else "C")


def _matrix(found: object) -> sparse.coo_array:
    """Builds a matrix from the attributes of a pickled one, including old names."""
    state = vars(found)
    rows, columns = state["coords"] if "coords" in state else (state["row"], state["col"])
    return sparse.coo_array((state["data"], (rows, columns)), shape=state["_shape"])
