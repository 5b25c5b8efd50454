from __future__ import annotations

import json
import shutil
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any

import pytest
import torch

from tests.training import tiny
from training.adapters.manifest import chain, read_adapter
from training.adapters.merge import unmerged
from training.adapters.publish import publish, push
from training.cli import main
from training.errors import TrainingError
from training.jobs.distill import DistillOptions, distill

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OPTIONS = DistillOptions(
    lora=tiny.LORA, learning_rate=5e-2, per_device_train_batch_size=1, max_length=512, max_steps=3,
    activation_checkpointing=False, bf16=False, save_steps=100,
)  # fmt: skip


@pytest.fixture(scope="module")
def adapter(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter on top of another of a different rank."""
    folder = tmp_path_factory.mktemp("adapter")
    data = tiny.write_rows(folder / "rows.jsonl", tiny.distill_rows(4))
    first = distill(OPTIONS, tiny.paths(tiny_model, data, folder / "one"), progress=print)
    wider = OPTIONS.model_copy(
        update={"lora": OPTIONS.lora.model_copy(update={"r": 2, "lora_alpha": 12})}
    )
    return distill(wider, tiny.paths(tiny_model, data, folder / "two", start=first), progress=print)


def test_a_chain_is_published_as_one_adapter_that_does_the_same(
    tiny_model: Path, adapter: Path, tmp_path: Path
) -> None:
    published = publish(adapter, "films-1", tmp_path)
    assert published == tmp_path / "adapters" / "films-1"
    manifest = read_adapter(published)
    assert (manifest.name, manifest.parent, manifest.job) == ("films-1", None, "distill")
    assert chain(published) == [published]
    ids = torch.arange(100, 140)[None]
    with torch.no_grad():
        one = unmerged(tiny_model, [published])(input_ids=ids).logits
        both = unmerged(tiny_model, chain(adapter))(input_ids=ids).logits
        last = unmerged(tiny_model, [adapter])(input_ids=ids).logits
    torch.testing.assert_close(one, both, atol=1e-4, rtol=1e-4)
    assert (one - last).abs().max() > 1e-2


def test_a_name_is_never_given_twice_not_even_after_deletion(adapter: Path, tmp_path: Path) -> None:
    shutil.rmtree(publish(adapter, "films-1", tmp_path))
    with pytest.raises(TrainingError, match="films-1 was used before"):
        publish(adapter, "films-1", tmp_path)


def test_publishing_again_what_is_published_changes_nothing(adapter: Path, tmp_path: Path) -> None:
    published = publish(adapter, "films-1", tmp_path)
    before = (published / "manifest.json").read_text()
    assert publish(adapter, "films-1", tmp_path) == published
    assert (published / "manifest.json").read_text() == before
    with pytest.raises(TrainingError, match="films-1 was used before"):
        publish(adapter / "parent", "films-1", tmp_path)
    assert (published / "manifest.json").read_text() == before


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "x" * 65, "two words"])
def test_a_malformed_name_is_refused(adapter: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(TrainingError, match="is not a valid name"):
        publish(adapter, name, tmp_path)
    assert not list(tmp_path.iterdir())


class _Vllm(BaseHTTPRequestHandler):
    """The two calls of vLLM that publishing makes."""

    serves: list[str]
    loads: list[dict[str, str]]
    takes = True
    key = ""

    def do_GET(self) -> None:
        if self._refused():
            return
        models = {"data": [{"id": name} for name in self.serves]}
        self._send(200, models if self.path == "/v1/models" else {})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self._refused():
            return
        if not self.takes:
            self._send(404, {"detail": "Not Found"})
            return
        self.loads.append(body)
        self._send(200, {})

    def _refused(self) -> bool:
        refused = bool(self.key) and self.headers["Authorization"] != f"Bearer {self.key}"
        if refused:
            self._send(401, {"error": "Unauthorized"})
        return refused

    def _send(self, status: int, document: dict[str, Any]) -> None:
        raw = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def vllm() -> Iterator[tuple[str, type[_Vllm]]]:
    handler = type("Vllm", (_Vllm,), {"serves": ["base"], "loads": []})
    server = HTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", handler
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_running_server_loads_a_published_adapter(
    adapter: Path, tmp_path: Path, vllm: tuple[str, type[_Vllm]]
) -> None:
    url, server = vllm
    published = publish(adapter, "films-1", tmp_path)
    push(published, url)
    push(published, url, served_path="/adapters/films-1")
    assert server.loads == [
        {"lora_name": "films-1", "lora_path": str(published)},
        {"lora_name": "films-1", "lora_path": "/adapters/films-1"},
    ]


def test_a_server_with_a_key_is_shown_it(
    adapter: Path, tmp_path: Path, vllm: tuple[str, type[_Vllm]], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, server = vllm
    server.key = "secret"
    published = publish(adapter, "films-1", tmp_path)
    for key in (None, "another"):
        with pytest.raises(TrainingError, match="wants a key, or another one: set RECLM_VLLM"):
            push(published, url, api_key=key)
    push(published, url, api_key="secret")
    assert len(server.loads) == 1

    (tmp_path / "key").write_text("secret\n")
    monkeypatch.setenv("RECLM_HOME", str(tmp_path))
    monkeypatch.setenv("RECLM_VLLM_API_KEY_FILE", str(tmp_path / "key"))
    assert main(["publish", str(adapter), "--name", "films-2", "--vllm", url]) == 0
    assert len(server.loads) == 2
    monkeypatch.setenv("RECLM_VLLM_API_KEY_FILE", str(tmp_path / "none"))
    assert main(["publish", str(adapter), "--name", "films-3", "--vllm", url]) == 1
    monkeypatch.delenv("RECLM_VLLM_API_KEY_FILE")
    monkeypatch.setenv("RECLM_VLLM_API_KEY", "secret")
    assert main(["publish", str(adapter), "--name", "films-3", "--vllm", url]) == 0


def test_a_server_that_cannot_take_it_is_told_of(
    adapter: Path, tmp_path: Path, vllm: tuple[str, type[_Vllm]]
) -> None:
    url, server = vllm
    published = publish(adapter, "films-1", tmp_path)
    with pytest.raises(TrainingError, match="does not answer as vLLM does: KeyError"):
        push(published, f"{url}/elsewhere")
    server.takes = False
    with pytest.raises(TrainingError, match="VLLM_ALLOW_RUNTIME_LORA_UPDATING"):
        push(published, url)
    server.serves.append("films-1")
    with pytest.raises(TrainingError, match="serves films-1 already"):
        push(published, url)
    for url in ("http://127.0.0.1:9", "http://127.0.0.1:port"):
        with pytest.raises(TrainingError, match="does not answer"):
            push(published, url)
