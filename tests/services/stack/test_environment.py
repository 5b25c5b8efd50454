from __future__ import annotations

import hashlib
import os
import subprocess
import zipfile
from typing import TYPE_CHECKING

import pytest

from services.stack import environment
from services.stack.errors import StackError

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow


def write_wheel(folder: Path, name: str, version: str) -> None:
    """Writes a minimal wheel: one module with its version."""
    folder.mkdir(parents=True, exist_ok=True)
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{name}.py", f"version = {version!r}\n")
        wheel.writestr(
            f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        )
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")


def write_index(folder: Path, name: str, version: str) -> str:
    """Writes a package index with one wheel; returns its URL."""
    write_wheel(folder / name, name, version)
    (wheel,) = (folder / name).glob("*.whl")
    (folder / name / "index.html").write_text(f'<a href="{wheel.name}">{wheel.name}</a>')
    return folder.as_uri()


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Makes the wheels of these tests the only ones that pip finds."""
    folder = tmp_path / "wheels"
    for version in ("1.0", "2.0"):
        write_wheel(folder, "something", version)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setattr(environment, "_LISTS", tmp_path)
    return folder


def write_list(folder: Path, kind: str, *lines: str, wrong: str = "") -> None:
    """Writes a list with the hashes of these tests' wheels; for `wrong` that of no file."""
    written = []
    for line in lines:
        name, _, version = line.partition("==")
        wheels = folder.rglob(f"{name}-{version}-*.whl")
        digests = [hashlib.sha256(wheel.read_bytes()).hexdigest() for wheel in wheels]
        digests = ["0" * 64] if name == wrong or not digests else digests
        written.append(" \\\n    ".join([line, *(f"--hash=sha256:{one}" for one in digests)]))
    (folder / f"requirements-{kind}.txt").write_text("\n".join(written) + "\n")


def version_of(python: Path, module: str) -> str:
    code = f"import {module}; print({module}.version)"
    return subprocess.check_output([str(python), "-c", code], text=True).strip()


@pytest.mark.usefixtures("wheels")
def test_an_environment_is_made_once_and_again_when_its_list_changes(tmp_path: Path) -> None:
    write_list(tmp_path, "cuda", "something==1.0")
    assert environment.python_of(tmp_path, "cuda") is None
    python = environment.make(tmp_path, "cuda")
    assert version_of(python, "something") == "1.0"
    witness = python.parent / "witness"
    witness.touch()
    assert environment.make(tmp_path, "cuda") == python
    assert witness.exists()

    write_list(tmp_path, "cuda", "something==2.0")
    assert environment.python_of(tmp_path, "cuda") is None
    assert version_of(environment.make(tmp_path, "cuda"), "something") == "2.0"
    assert not witness.exists()


@pytest.mark.usefixtures("wheels")
def test_what_pip_could_not_finish_is_not_an_environment(tmp_path: Path) -> None:
    write_list(tmp_path, "cuda", "something==1.0", "nothing==1.0")
    with pytest.raises(StackError, match=r"nothing==1\.0"):
        environment.make(tmp_path, "cuda")
    assert environment.python_of(tmp_path, "cuda") is None
    write_list(tmp_path, "cuda", "something==1.0")
    assert environment.make(tmp_path, "cuda").exists()


@pytest.mark.usefixtures("wheels")
@pytest.mark.parametrize("wrong", ["something", "torch"])
def test_a_file_that_was_exchanged_is_not_installed(tmp_path: Path, wrong: str) -> None:
    write_wheel(tmp_path / "wheels", "torch", "9.0+cpu")
    write_list(tmp_path, "cpu", "torch==9.0+cpu", "something==1.0", wrong=wrong)
    with pytest.raises(StackError, match="DO NOT MATCH THE HASHES"):
        environment.make(tmp_path, "cpu")
    (tmp_path / "requirements-cpu.txt").write_text("torch==9.0+cpu\nsomething==1.0\n")
    with pytest.raises(StackError, match="Hashes are required"):
        environment.make(tmp_path, "cpu")
    assert environment.python_of(tmp_path, "cpu") is None


@pytest.mark.usefixtures("wheels")
def test_torch_for_the_cpu_comes_from_its_own_index_where_pips_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", (tmp_path / "empty").as_uri())
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "")
    index = write_index(tmp_path / "index", "torch", "9.0+cpu")
    monkeypatch.setattr(environment, "_TORCH_CPU_INDEX", index)
    write_list(tmp_path, "cpu", "torch==9.0+cpu", "something==1.0")
    python = environment.make(tmp_path, "cpu")
    assert version_of(python, "torch") == "9.0+cpu"
    assert version_of(python, "something") == "1.0"


def test_a_missing_list_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "_LISTS", tmp_path)
    with pytest.raises(StackError, match=r"requirements-cpu\.txt is missing"):
        environment.make(tmp_path, "cpu")
