"""The hash of a bundle: computed from its files, and again only when they were touched."""

from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from services.profiles.errors import DamagedBundle
from services.profiles.scoring import bundle as bundles
from services.profiles.scoring.content import Contents
from tests.support.bundles import little

if TYPE_CHECKING:
    from pathlib import Path

LONG_AGO = 1_600_000_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return little().write(tmp_path, "b")


def test_equal_files_have_one_hash_and_every_file_counts(tmp_path: Path, folder: Path) -> None:
    contents = Contents()
    first = contents.of(folder)
    assert len(first) == 32
    assert contents.of(little().write(tmp_path / "copy", "b")) == first
    found = {first}
    for file in sorted(folder.iterdir()):
        raw = file.read_bytes()
        # A change that leaves the manifest readable.
        file.write_bytes(raw + b" ")
        found.add(contents.of(folder))
        file.write_bytes(raw)
    assert len(found) == 1 + len(list(folder.iterdir()))
    assert contents.of(folder) == first


def test_the_manifest_is_not_believed(folder: Path) -> None:
    """The files change, and the manifest goes on to say what it said."""
    first = Contents().of(folder)
    raw = bytearray((folder / "item_bias.npy").read_bytes())
    raw[-1] ^= 1
    (folder / "item_bias.npy").write_bytes(raw)
    assert Contents().of(folder) != first
    with pytest.raises(DamagedBundle, match="does not have the checksum"):
        bundles.load(folder)


def test_a_file_that_is_not_listed_is_no_part(folder: Path) -> None:
    first = Contents().of(folder)
    (folder / "notes.txt").write_text("seen by nobody")
    assert Contents().of(folder) == first


def test_a_file_is_read_again_only_when_it_was_touched(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is not read cannot be hashed: the reads are counted where the hash is made."""
    read: list[str] = []
    hashed = hashlib.file_digest

    def counted(file: Any, name: str) -> Any:
        read.append(file.name)
        return hashed(file, name)

    monkeypatch.setattr("hashlib.file_digest", counted)
    # Their inodes changed just now: the clock of the test is an hour ahead.
    ahead = folder.stat().st_ctime_ns + 3600 * 10**9
    monkeypatch.setattr("time.time_ns", lambda: ahead)
    contents = Contents()
    first = contents.of(folder)
    files = len(read)
    assert files == len(list(folder.iterdir()))
    assert contents.of(folder) == first
    assert len(read) == files
    os.utime(folder / "item_bias.npy", (LONG_AGO, LONG_AGO))
    assert contents.of(folder) == first
    assert read[files:] == [str(folder / "item_bias.npy")]


def test_a_file_of_this_moment_is_read_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two writes within a step of the clock leave equal times: the second must not be missed."""
    monkeypatch.setattr("services.profiles.scoring.content._state", lambda _: (0, 0, 0, 0, 0))
    contents = Contents()
    first = contents.of(folder)
    bias = folder / "item_bias.npy"
    raw = bytearray(bias.read_bytes())
    raw[-1] ^= 1
    bias.write_bytes(raw)
    assert contents.of(folder) != first


def test_a_folder_without_a_manifest_or_with_a_file_gone_is_damaged(folder: Path) -> None:
    (folder / "item_bias.npy").unlink()
    with pytest.raises(DamagedBundle, match=r"b: item_bias\.npy: No such file"):
        Contents().of(folder)
    (folder / "manifest.json").write_text(json.dumps({"format": 1}))
    with pytest.raises(DamagedBundle, match=r"manifest\.json"):
        Contents().of(folder)


def test_files_that_are_replaced_while_they_are_loaded_are_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = bundles._check_seen

    def replaced(*arguments: Any) -> None:
        check(*arguments)
        (folder / "item_bias.npy").write_bytes(b"other")

    monkeypatch.setattr(bundles, "_check_seen", replaced)
    with pytest.raises(DamagedBundle, match=r"item_bias|replaced"):
        bundles.load(folder)
