import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from services.assets.errors import AssetError
from services.assets.install import Asset, install
from services.assets.manifest import Origin, is_complete, read_manifest, verify
from services.common.manifests import ManifestError, content_hash

Build = Callable[[Path, Path], None]
FORK = multiprocessing.get_context("fork")


def asset(build: Build) -> Asset:
    return Asset(Origin("acme", "a test", "MIT"), 0, build)


def whole(target: Path, scratch: Path) -> None:
    (target / "weights.bin").write_bytes(b"w" * 1000)
    (target / "sub").mkdir()
    (target / "sub/config.json").write_text("{}")


def killed_in_the_middle(target: Path, scratch: Path) -> None:
    (scratch / "download").write_bytes(b"half")
    (target / "weights.bin").write_bytes(b"w" * 500)
    os.kill(os.getpid(), signal.SIGKILL)


def test_an_asset_has_a_manifest_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    folder = tmp_path / "models/acme"
    install(asset(whole), folder, force=False)
    manifest = verify(folder)
    assert manifest.origin == Origin("acme", "a test", "MIT")
    assert {name: record["size"] for name, record in manifest.files.items()} == {
        "sub/config.json": 2,
        "weights.bin": 1000,
    }
    assert {path.name for path in folder.parent.iterdir()} == {"acme", ".acme.lock"}


def test_a_build_killed_in_the_middle_is_never_taken_for_whole(tmp_path: Path) -> None:
    folder = tmp_path / "acme"
    process = FORK.Process(
        target=install, args=(asset(killed_in_the_middle), folder), kwargs={"force": False}
    )
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert not folder.exists()
    assert not is_complete(folder)

    kept = []

    def resume(target: Path, scratch: Path) -> None:
        kept.extend(path.name for path in scratch.iterdir())
        assert list(target.iterdir()) == []
        whole(target, scratch)

    install(asset(resume), folder, force=False)
    assert kept == ["download"]
    verify(folder)


def test_a_failed_build_leaves_no_folder(tmp_path: Path) -> None:
    def fail(target: Path, scratch: Path) -> None:
        (target / "weights.bin").write_bytes(b"w")
        raise AssetError("no network")

    with pytest.raises(AssetError, match="no network"):
        install(asset(fail), tmp_path / "acme", force=False)
    assert not (tmp_path / "acme").exists()


def test_a_failed_replacement_keeps_what_was_there(tmp_path: Path) -> None:
    install(asset(whole), tmp_path / "acme", force=False)

    def fail(target: Path, scratch: Path) -> None:
        raise AssetError("no network")

    with pytest.raises(AssetError, match="no network"):
        install(asset(fail), tmp_path / "acme", force=True)
    verify(tmp_path / "acme")


def test_a_complete_asset_is_built_again_only_when_forced(tmp_path: Path) -> None:
    builds = []

    def count(target: Path, scratch: Path) -> None:
        builds.append(1)
        (target / "weights.bin").write_text(str(len(builds)))

    for force in (False, False, True):
        install(asset(count), tmp_path / "acme", force=force)
    assert len(builds) == 2
    assert (tmp_path / "acme/weights.bin").read_text() == "2"


def test_a_truncated_asset_is_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "acme"
    install(asset(whole), folder, force=False)
    (folder / "weights.bin").write_bytes(b"w")
    assert not is_complete(folder)
    install(asset(whole), folder, force=False)
    verify(folder)


def test_a_folder_that_is_no_asset_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "acme").mkdir()
    (tmp_path / "acme/thesis.txt").write_text("mine")
    for force in (False, True):
        with pytest.raises(AssetError, match="in the way"):
            install(asset(whole), tmp_path / "acme", force=force)
    assert (tmp_path / "acme/thesis.txt").read_text() == "mine"


def test_processes_that_install_at_once_build_once(tmp_path: Path) -> None:
    log = tmp_path / "builds"

    def build(target: Path, scratch: Path) -> None:
        with log.open("a") as file:
            file.write("x")
        whole(target, scratch)

    processes = [
        FORK.Process(
            target=install, args=(asset(build), tmp_path / "acme"), kwargs={"force": False}
        )
        for _ in range(4)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 4
    assert log.read_text() == "x"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda path: path.write_bytes(b"v" * 1000), "weights.bin has sha256"),
        (lambda path: path.unlink(), "weights.bin is missing"),
    ],
)
def test_verify_names_the_file_that_differs(
    tmp_path: Path, change: Callable[[Path], None], message: str
) -> None:
    install(asset(whole), tmp_path / "acme", force=False)
    change(tmp_path / "acme/weights.bin")
    with pytest.raises(AssetError, match=message):
        verify(tmp_path / "acme")


def test_the_content_hash_follows_the_content_with_and_without_a_manifest(tmp_path: Path) -> None:
    install(asset(whole), tmp_path / "acme", force=False)
    (tmp_path / "plain").mkdir()
    whole(tmp_path / "plain", tmp_path)
    hashes = {content_hash(tmp_path / name) for name in ("acme", "plain")}
    assert len(hashes) == 1
    (tmp_path / "plain/weights.bin").write_bytes(b"v" * 1000)
    assert content_hash(tmp_path / "plain") not in hashes
    with pytest.raises(ManifestError, match="none"):
        content_hash(tmp_path / "acme", "none")


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"name": 1, "files": 3}'])
def test_a_manifest_that_is_none_is_an_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(AssetError, match="not an asset manifest"):
        read_manifest(tmp_path)
