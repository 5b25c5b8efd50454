"""Runs huggingface_hub in a separate process against a local server."""

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.assets.errors import AssetError
from services.assets.fetch import hub_folder
from services.assets.manifest import read_manifest, verify
from tests.services.assets.hub_server import SHA, HubServer

FILES = {
    "config.json": b'{"model_type": "llama"}',
    "model.safetensors": random.Random(0).randbytes(40_000_000),
    "tokenizer.json": b"{}",
    "pytorch_model.bin": b"a pickle",
    "modeling_tiny.py": b"print('runs')",
    "onnx/model.onnx": b"the same again",
}
SAFE = {"config.json", "model.safetensors", "tokenizer.json"}
GET = """
import sys
from services.assets.fetch import get_model
from services.assets.errors import AssetError
try:
    print(get_model(sys.argv[1], revision=sys.argv[2] or None))
except AssetError as error:
    sys.exit(f"AssetError: {error}")
"""


@pytest.fixture
def hub() -> Iterator[HubServer]:
    server = HubServer(dict(FILES))
    yield server
    server.close()


def start(
    url: str, home: Path, name: str = "acme/tiny", revision: str = ""
) -> subprocess.Popen[str]:
    drop = {"HF_TOKEN", "HF_HUB_OFFLINE", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"}
    environment = {
        **{key: value for key, value in os.environ.items() if key not in drop},
        "HF_ENDPOINT": url,
        "HF_HOME": str(home / "hf"),
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "NO_PROXY": "127.0.0.1",
        "RECLM_HOME": str(home),
    }
    return subprocess.Popen(
        [sys.executable, "-c", GET, name, revision],
        env=environment,
        cwd=Path(__file__).parents[3],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def fetch(
    url: str, home: Path, name: str = "acme/tiny", revision: str = ""
) -> tuple[int, str, str]:
    process = start(url, home, name, revision)
    out, err = process.communicate(timeout=120)
    return process.returncode, out.strip(), err


def test_only_safe_formats_are_fetched_and_the_licence_is_reported(
    hub: HubServer, tmp_path: Path
) -> None:
    status, out, err = fetch(hub.url, tmp_path)
    assert status == 0, err
    folder = tmp_path / "models/acme/tiny"
    assert out == str(folder)
    assert "licence mit" in err
    manifest = verify(folder)
    assert set(manifest.files) == SAFE
    assert manifest.origin.source.endswith(SHA)
    assert {path.name for path in folder.parent.iterdir()} == {"tiny", ".tiny.lock"}


def test_a_fetched_model_needs_no_network_and_revisions_are_separate(
    hub: HubServer, tmp_path: Path
) -> None:
    assert fetch(hub.url, tmp_path, revision="v1")[0] == 0
    hub.close()
    status, out, err = fetch(hub.url, tmp_path, revision="v1")
    assert (status, out, err) == (0, str(tmp_path / "models/acme/tiny@v1"), "")
    status, _, err = fetch(hub.url, tmp_path)
    assert status == 1
    assert "AssetError: could not fetch acme/tiny from the Hub" in err


def test_an_interrupted_download_is_not_a_model_and_can_be_resumed(
    hub: HubServer, tmp_path: Path
) -> None:
    hub.stall_after = 25_000_000
    process = start(hub.url, tmp_path)
    assert hub.stalled.wait(60)
    deadline = time.monotonic() + 60
    scratch = tmp_path / "models/acme/.tiny.part/scratch"
    while not (
        any(path.stat().st_size for path in scratch.rglob("*.incomplete"))
        and (scratch / "config.json").is_file()
    ):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.kill()
    process.communicate()
    folder = tmp_path / "models/acme/tiny"
    assert not folder.exists()

    hub.stall_after = None
    status, _, err = fetch(hub.url, tmp_path)
    assert status == 0, err
    assert hub.downloads.count("config.json") == 1  # the complete file was kept
    assert hub.downloads.count("model.safetensors") == 2
    verify(folder)
    assert (folder / "model.safetensors").read_bytes() == FILES["model.safetensors"]


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_content_with_another_hash_than_on_the_hub_is_refused(
    hub: HubServer, tmp_path: Path, name: str
) -> None:
    good = FILES[name]
    hub.sent[name] = good[:-1] + bytes([good[-1] ^ 1])
    status, _, err = fetch(hub.url, tmp_path)
    assert status == 1
    assert f"{name} has hash" in err
    assert not (tmp_path / "models/acme/tiny").exists()
    hub.sent.clear()
    assert fetch(hub.url, tmp_path)[0] == 0
    assert read_manifest(tmp_path / "models/acme/tiny").files[name]["size"] == len(good)


def test_errors_are_named(hub: HubServer, tmp_path: Path) -> None:
    assert "has no revision 'v9'" in fetch(hub.url, tmp_path, revision="v9")[2]
    assert "no model acme/none" in fetch(hub.url, tmp_path, name="acme/none")[2]
    hub.gated = True
    assert "is gated" in fetch(hub.url, tmp_path)[2]
    hub.gated = False
    hub.files = {name: FILES[name] for name in ("config.json", "pytorch_model.bin")}
    assert "neither safetensors nor model.onnx" in fetch(hub.url, tmp_path)[2]


@pytest.mark.parametrize(
    "name", ["tiny", "a/b/c", "../etc", "acme/..", "/acme/tiny", "acme/ti ny", ""]
)
def test_a_name_that_is_neither_known_nor_on_the_hub(name: str) -> None:
    with pytest.raises(AssetError, match="ORG/MODEL"):
        hub_folder(name, None)


def test_a_revision_cannot_lead_out_of_the_folder() -> None:
    assert hub_folder("acme/tiny", "refs/pr/1") == "acme/tiny@refs%2Fpr%2F1"
