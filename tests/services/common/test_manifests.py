"""Content hashes, by hand and by manifest."""

import hashlib
import json
from pathlib import Path

import pytest

from services.common.hashing import sha256_of
from services.common.manifests import MANIFEST, ManifestError, content_hash, file_records


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "sub").mkdir()
    (tmp_path / "b.txt").write_text("b")
    (tmp_path / "sub" / "a.txt").write_text("a")
    return tmp_path


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_the_hash_is_over_names_and_contents_in_order(folder: Path) -> None:
    expected = digest(f"b.txt\0{digest('b')}\nsub/a.txt\0{digest('a')}\n")[:12]
    assert content_hash(folder) == expected
    assert content_hash(folder, "sub/a.txt") == digest("a")[:12]
    assert sha256_of(folder / "b.txt") == digest("b")


def test_a_manifest_gives_the_same_hash_as_the_files(folder: Path) -> None:
    plain = content_hash(folder)
    (folder / MANIFEST).write_text(json.dumps({"files": file_records(folder)}))
    assert content_hash(folder) == plain
    assert file_records(folder)["b.txt"] == {"sha256": digest("b"), "size": 1}


def test_the_hash_is_of_the_content_whatever_the_manifest_says(folder: Path) -> None:
    (folder / MANIFEST).write_text(json.dumps({"files": file_records(folder)}))
    plain, of_one = content_hash(folder), content_hash(folder, "b.txt")
    (folder / "notes.md").write_text("beside the files")
    assert content_hash(folder) == plain
    (folder / "b.txt").write_text("c")
    assert content_hash(folder) != plain
    assert content_hash(folder, "b.txt") == digest("c")[:12] != of_one


def test_weights_that_are_not_in_the_manifest_are_refused(folder: Path) -> None:
    (folder / MANIFEST).write_text(json.dumps({"files": file_records(folder)}))
    (folder / "model-2.safetensors").write_text("other weights")
    with pytest.raises(ManifestError, match=r"model-2\.safetensors is not in the folder's"):
        content_hash(folder)


@pytest.mark.parametrize("name", ["../b.txt", "/etc/hostname", "sub/../../b.txt"])
def test_a_manifest_names_no_file_of_another_folder(folder: Path, name: str) -> None:
    (folder / MANIFEST).write_text(json.dumps({"files": {name: {"sha256": "0", "size": 1}}}))
    with pytest.raises(ManifestError, match="is no file of this folder"):
        content_hash(folder)


@pytest.mark.parametrize("content", ["{", "{}", '{"files": 1}', '{"files": {"a": {}}}'])
def test_a_damaged_manifest_is_refused(folder: Path, content: str) -> None:
    (folder / MANIFEST).write_text(content)
    with pytest.raises(ManifestError, match="is damaged"):
        content_hash(folder)


def test_what_is_missing_is_named(folder: Path) -> None:
    with pytest.raises(ManifestError, match="is not a folder"):
        content_hash(folder / "none")
    with pytest.raises(ManifestError, match=r"none\.txt is missing"):
        content_hash(folder, "none.txt")
    (folder / MANIFEST).write_text(json.dumps({"files": file_records(folder)}))
    (folder / "b.txt").unlink()
    with pytest.raises(ManifestError, match=r"b\.txt is missing"):
        content_hash(folder)
