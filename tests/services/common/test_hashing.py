"""A big file's hash is remembered for as long as the file is the same."""

import hashlib
import json
import os
from pathlib import Path

import pytest

from services.common import hashing
from services.common.hashing import remembered_sha256_of


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own, in which every file is big and has been left alone for long."""
    monkeypatch.setenv("RECLM_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(hashing, "_BIG", 1)
    monkeypatch.setattr(hashing, "_SETTLED_NS", -1)
    return tmp_path / "home"


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that were read."""
    names: list[str] = []
    plain = hashing.sha256_of

    def counted(path: Path) -> str:
        names.append(path.name)
        return plain(path)

    monkeypatch.setattr(hashing, "sha256_of", counted)
    return names


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_a_file_is_read_again_when_it_has_changed(
    tmp_path: Path, home: Path, read: list[str]
) -> None:
    (tmp_path / "a").write_text("one")
    (tmp_path / "b").write_text("b")
    for _ in range(2):
        assert remembered_sha256_of(tmp_path / "a") == digest("one")
        assert remembered_sha256_of(tmp_path / "b") == digest("b")
    assert read == ["a", "b"]
    known = json.loads((home / "cache" / "hashes.json").read_text())
    assert [entry["sha256"] for entry in known.values()] == [digest("one"), digest("b")]
    (tmp_path / "a").write_text("three")
    assert remembered_sha256_of(tmp_path / "a") == digest("three")
    (tmp_path / "b").unlink()
    (tmp_path / "a").write_text("four")
    assert remembered_sha256_of(tmp_path / "a") == digest("four")
    known = json.loads((home / "cache" / "hashes.json").read_text())
    assert [entry["sha256"] for entry in known.values()] == [digest("four")]


@pytest.mark.usefixtures("home")
def test_a_copy_that_keeps_size_and_date_is_noticed(tmp_path: Path, read: list[str]) -> None:
    path = tmp_path / "weights"
    path.write_text("true")
    dates = path.stat()
    assert remembered_sha256_of(path) == digest("true")
    path.write_text("fake")
    os.utime(path, ns=(dates.st_atime_ns, dates.st_mtime_ns))
    assert path.stat().st_mtime_ns == dates.st_mtime_ns
    assert remembered_sha256_of(path) == digest("fake")
    assert read == ["weights", "weights"]


def test_a_file_that_was_just_written_is_not_remembered(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hashing, "_SETTLED_NS", 10**18)
    (tmp_path / "a").write_text("one")
    assert remembered_sha256_of(tmp_path / "a") == digest("one")
    assert not home.exists()


@pytest.mark.parametrize("content", ["{", "[]", '{"PATH": 1}', '{"PATH": {"state": [1]}}'])
def test_what_is_remembered_may_be_damaged_or_not_be_writable(
    tmp_path: Path, home: Path, content: str
) -> None:
    path = tmp_path / "a"
    path.write_text("one")
    (home / "cache").mkdir(parents=True)
    (home / "cache" / "hashes.json").write_text(content.replace("PATH", str(path)))
    assert remembered_sha256_of(path) == digest("one")
    (home / "cache" / "hashes.json").unlink()
    (home / "cache").rmdir()
    (home / "cache").write_text("not a folder")
    assert remembered_sha256_of(path) == digest("one")


@pytest.mark.usefixtures("home")
def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        remembered_sha256_of(tmp_path / "none")
