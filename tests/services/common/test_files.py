"""Atomic files and folders: the old content or the new, never a part."""

import json
from pathlib import Path

import pytest

from services.common.files import (
    atomic_file,
    atomic_folder,
    atomic_path,
    is_occupied,
    replace_folder,
    write_json,
    write_text,
)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def interrupted(write) -> None:
    write(b"new")
    raise KeyboardInterrupt


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "a.json"
    write_json(target, {"a": 1})
    assert json.loads(target.read_text()) == {"a": 1}
    write_text(target, "two\n")
    assert target.read_text() == "two\n"
    assert names(target.parent) == ["a.json"]


@pytest.mark.parametrize("opened", [atomic_file, atomic_path])
def test_a_failure_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path, opened) -> None:
    target = tmp_path / "a.txt"
    write_text(target, "old")
    with pytest.raises(KeyboardInterrupt), opened(target) as new:
        interrupted(new.write if opened is atomic_file else new.write_bytes)
    assert target.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_a_temporary_path_has_the_suffix_that_libraries_look_at(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "plot.png") as temporary:
        assert temporary.suffix == ".png"
        assert temporary.name.startswith(".")
        temporary.write_bytes(b"image")
    assert (tmp_path / "plot.png").read_bytes() == b"image"


def test_a_folder_appears_whole(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "out"
    with atomic_folder(target) as folder:
        (folder / "part").mkdir()
        (folder / "part" / "a").write_text("a")
        assert not target.exists()
    assert (target / "part" / "a").read_text() == "a"
    assert names(target.parent) == ["out"]


def test_a_folder_that_is_not_empty_is_replaced_only_when_asked(tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.mkdir()
    assert not is_occupied(target)
    with atomic_folder(target) as folder:
        (folder / "a").write_text("old")
    assert is_occupied(target)
    with pytest.raises(FileExistsError, match="not empty"), atomic_folder(target) as folder:
        (folder / "a").write_text("new")
    assert (target / "a").read_text() == "old"
    with atomic_folder(target, replace=True) as folder:
        (folder / "b").write_text("new")
    assert names(target) == ["b"]
    assert names(tmp_path) == ["out"]


def test_a_failure_leaves_the_old_folder(tmp_path: Path) -> None:
    target = tmp_path / "out"
    with atomic_folder(target) as folder:
        (folder / "a").write_text("old")
    with pytest.raises(KeyboardInterrupt), atomic_folder(target, replace=True) as folder:
        interrupted((folder / "b").write_bytes)
    assert names(target) == ["a"]
    assert names(tmp_path) == ["out"]


def test_a_folder_that_cannot_be_renamed_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = tmp_path / "source", tmp_path / "out"
    for folder in (source, target):
        folder.mkdir()
        (folder / folder.name).write_text("x")
    rename = Path.rename

    def fail_for_the_source(path: Path, to: Path) -> Path:
        if path == source:
            raise OSError("no space")
        return rename(path, to)

    monkeypatch.setattr(Path, "rename", fail_for_the_source)
    with pytest.raises(OSError, match="no space"):
        replace_folder(source, target)
    assert names(target) == ["out"]
    assert names(tmp_path) == ["out", "source"]
