"""What a pickle may do: give numbers and text, and nothing else, however it asks."""

from __future__ import annotations

import builtins
import collections
import os
import pickle
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy import sparse

from recommenders.data import unpickling
from recommenders.data.errors import DatasetError
from recommenders.data.unpickling import load_pickle

if TYPE_CHECKING:
    from collections.abc import Callable

MATRIX = sparse.coo_matrix(([1.0, 2.0], ([0, 1], [2, 0])), shape=(2, 3))


class Call:
    """Pickles as a call of a function."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def stored(folder: Path, raw: bytes) -> Path:
    path = folder / "x.pkl"
    path.write_bytes(raw)
    return path


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_dicts_lists_text_and_numbers_are_read(tmp_path: Path, protocol: int) -> None:
    value = {1: [2, 3.5, None, True], "ä": {"b": (1, "c")}, 2: {1, 2} if protocol > 3 else 0}
    assert load_pickle(stored(tmp_path, pickle.dumps(value, protocol))) == value


@pytest.mark.parametrize("protocol", [3, 4, 5])
@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype=np.int32).reshape(2, 3),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.array([1, 2], ">i8"),
        np.array([True, False]),
        np.empty((0, 4), np.float32),
    ],
)
def test_arrays_of_numbers_are_read(tmp_path: Path, array: Any, protocol: int) -> None:
    found = load_pickle(stored(tmp_path, pickle.dumps(array, protocol)))
    assert type(found) is np.ndarray
    assert found.dtype.newbyteorder("=") == array.dtype.newbyteorder("=")
    np.testing.assert_array_equal(found, array)


def test_numpys_numbers_become_pythons(tmp_path: Path) -> None:
    value = {3: [np.int64(7), np.float32(0.5)], 4: np.bool_(True)}
    found = load_pickle(stored(tmp_path, pickle.dumps(value)))
    assert found == {3: [7, 0.5], 4: True}
    assert isinstance(found, dict)
    assert [type(number) for number in (*found[3], found[4])] == [int, float, bool]


@pytest.mark.parametrize("old", [False, True])
def test_a_matrix_is_read_under_new_and_old_names(tmp_path: Path, old: bool) -> None:
    raw = pickle.dumps(MATRIX, 3)
    if old:
        # Without frames, names are lines: those of numpy 1 and scipy 1.7, and their attributes.
        raw = raw.replace(b"numpy._core.", b"numpy.core.").replace(b"sparse._coo", b"sparse.coo")
    found = load_pickle(stored(tmp_path, raw))
    assert isinstance(found, sparse.coo_array)
    assert found.toarray().tolist() == [[0, 0, 1], [2, 0, 0]]


def test_a_matrix_with_rows_and_columns_apart_is_read(tmp_path: Path) -> None:
    """As scipy before 1.13 wrote it."""
    old = sparse.coo_matrix.__new__(sparse.coo_matrix)
    state = {"_shape": (2, 3), "row": MATRIX.row, "col": MATRIX.col, "data": MATRIX.data}
    vars(old).update(state)
    found = load_pickle(stored(tmp_path, pickle.dumps(old)))
    assert isinstance(found, sparse.coo_array)
    assert found.toarray().tolist() == [[0, 0, 1], [2, 0, 0]]


def test_a_matrix_whose_indices_are_beyond_its_shape_is_refused(tmp_path: Path) -> None:
    broken = sparse.coo_matrix(MATRIX)
    vars(broken)["_shape"] = (2, 2)
    with pytest.raises(DatasetError, match=r"x\.pkl cannot be unpickled: .*index"):
        load_pickle(stored(tmp_path, pickle.dumps(broken)))


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"\x80\x04Nr\xff\xff\xff\x03.", "LONG_BINPUT 67,108,863 in a pickle of 9 bytes"),
        (b"\x80\x02Np99999999\n.", "PUT 99,999,999 in a pickle of 14 bytes"),
        (b"\x80\x05\x96\x00\x00\x00\x40\x00\x00\x00\x00.", "expected 1073741824 bytes"),
        (b"\x80\x04\x8e\x00\x00\x00\x40\x00\x00\x00\x00.", "expected 1073741824 bytes"),
        (b"\x80\x04B\x00\x00\x00\x40.", "expected 1073741824 bytes"),
    ],
)
def test_a_small_pickle_takes_little_memory(tmp_path: Path, raw: bytes, message: str) -> None:
    """In a process of its own, which has 512 MiB more than it has taken so far."""
    path = stored(tmp_path, raw)
    code = (
        "import pathlib, resource, sys\n"
        "from recommenders.data.unpickling import load_pickle\n"
        "pages = int(pathlib.Path('/proc/self/statm').read_text().split()[0])\n"
        "most = pages * resource.getpagesize() + 2**29\n"
        "resource.setrlimit(resource.RLIMIT_AS, (most, most))\n"
        "load_pickle(pathlib.Path(sys.argv[1]))\n"
    )
    if not Path("/proc/self/statm").is_file():
        pytest.skip("the memory of a process is limited here on Linux alone")
    command = [sys.executable, "-c", code, path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "DatasetError" in done.stderr
    assert message in done.stderr


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (Call(os.system, "touch HERE"), "posix.system"),
        (Call(builtins.eval, "open('HERE', 'w')"), "(builtins|__builtin__).eval"),
        (Call(builtins.exec, "open('HERE', 'w')"), "(builtins|__builtin__).exec"),
        (Call(builtins.getattr, {}, "pop"), "(builtins|__builtin__).getattr"),
        # Python 3.13 pickles `open` as `_io.open`, earlier ones as `io.open`.
        (Call(builtins.open, "HERE", "w"), "_?io.open"),
        (Call(np.load, "HERE", None, True), "numpy.load"),
        (Call(np.fromfile, "HERE"), "numpy.*fromfile"),
        (Call(np.vectorize, print), "numpy.vectorize"),
        (Call(collections.OrderedDict), "collections.OrderedDict"),
        (Call(pickle.loads, b""), "_?pickle.loads"),
    ],
)
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_what_runs_code_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Call, name: str, protocol: int
) -> None:
    monkeypatch.chdir(tmp_path)
    path = stored(tmp_path, pickle.dumps({1: call}, protocol))
    with pytest.raises(DatasetError, match=rf"x\.pkl names {name}, .* was not run"):
        load_pickle(path)
    assert not (tmp_path / "HERE").exists()


@pytest.mark.parametrize(
    "raw",
    [
        b"cnumpy.testing._private.utils\nrunstring\n(S'1'\n}tR.",
        b"cnumpy.f2py.crackfortran\nmyeval\n(S'1'\ntR.",
        b"cnumpy.core.multiarray\nfromstring\n.",
        b"cscipy.sparse._csr\ncsr_matrix\n.",
        b"cbuiltins\n__import__\n(S'os'\ntR.",
        # A dotted name would reach from what is admitted into the rest of numpy.
        b"\x80\x04\x8c\x05numpy\x8c\x0dndarray.dumps\x93.",
    ],
)
def test_names_near_those_admitted_are_refused(tmp_path: Path, raw: bytes) -> None:
    with pytest.raises(DatasetError, match="which no dataset needs"):
        load_pickle(stored(tmp_path, raw))


ARRAY = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR"
FLOATS = b"cnumpy\ndtype\n(S'f8'\nI0\nI1\ntR"


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        # Objects in an array would be addresses taken from the file.
        (b"cnumpy\ndtype\n(S'O'\nI0\nI1\ntR.", "not of numbers"),
        (b"cnumpy\ndtype\n(S'V8'\nI0\nI1\ntR.", "not of numbers"),
        # The 63 stands for "holds objects", set on a type that does not.
        (FLOATS + b"(I3\nS'<'\n(S'a'\nt}NI8\nI8\nI63\ntb.", "an array of type"),
        (ARRAY + b"(I1\n(I1000\nt" + FLOATS + b"I00\nC\x08" + b"0" * 8 + b"tb.", "in 8 bytes"),
        (ARRAY + b"(I1\n(I1\ntNI00\nC\x08" + b"0" * 8 + b"tb.", "not of numbers"),
        (ARRAY + b"(I1\n(I1\nt" + FLOATS + b"I00\n]tb.", "not of numbers"),
        # `numpy.ndarray` cannot be called: it could be given any memory.
        (b"cnumpy\nndarray\n(I1\ntR.", "not callable"),
        (b"cnumpy.core.multiarray\n_reconstruct\n(cscipy.sparse.coo\ncoo_matrix\ntR.", "of class"),
        (b"", "pickle exhausted before seeing STOP"),
        (b"\x80\x04\x95", "not enough data in stream"),
        (b"<html>", "cannot be unpickled"),
    ],
)
def test_damaged_and_crafted_arrays_are_refused(tmp_path: Path, raw: bytes, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        load_pickle(stored(tmp_path, raw))


@pytest.mark.parametrize(
    "target",
    [
        b"cscipy.sparse._coo\ncoo_matrix\n",
        b"cnumpy\ndtype\n",
        b"cnumpy\nndarray\n",
        b"cnumpy.core.multiarray\n_reconstruct\n",
        b"cnumpy.core.multiarray\nscalar\n",
    ],
)
def test_nothing_that_is_admitted_can_be_changed_for_the_next_file(
    tmp_path: Path, target: bytes
) -> None:
    """Attributes that a pickle sets on what it was given stay with that pickle."""
    # Some of it refuses to be changed, which is as good.
    with suppress(DatasetError):
        load_pickle(stored(tmp_path, target + b"(N(dS'planted'\nI1\nstb."))
    within_reach = [*vars(unpickling).values(), sparse.coo_matrix, np.ndarray, np.dtype]
    assert [thing for thing in within_reach if hasattr(thing, "planted")] == []


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"x\.pkl is missing"):
        load_pickle(tmp_path / "x.pkl")
