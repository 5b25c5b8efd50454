"""From the shipped profiles to profiles that the service writes with a model trained on them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from recommenders.data.readers.movielens import fetch_ml_100k
from services.stack.adapters import find_adapter
from tests.support.servers import Service
from tests.support.vllm import MODEL, VllmServer
from training.cli import main
from training.compare import HeldOut, LocalWriter, ServedWriter, compare
from training.rows import read_rows

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.stack, pytest.mark.model, pytest.mark.timeout(600)]

NAME = "seeded-1"
CONFIG = """
lora: {rank: 8, alpha: 16}
learning_rate: 2.0e-3
max_steps: 24
batch_size: 1
max_length: 1024
checkpointing: false
"""


def test_a_trained_adapter_is_served_and_writes_better_profiles(
    model_folder: Path,
    encoder_folder: Path,
    service_env: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    home = tmp_path / "home"
    fetch_ml_100k().write(tmp_path / "ml-100k")
    seed = tmp_path / "seed"
    data = ["data", "teacher", "seed", "--dataset", str(tmp_path / "ml-100k")]
    assert main([*data, "--model", str(model_folder), "--out", str(seed)]) == 0
    config = tmp_path / "distill.yaml"
    config.write_text(CONFIG)
    job = ["distill", "--model", str(model_folder), "--data", str(seed / "train.jsonl")]
    assert main([*job, "--config", str(config), "--out", str(tmp_path / "run")]) == 0
    publish = ["publish", str(tmp_path / "run" / "adapter"), "--name", NAME, "--merged"]
    with monkeypatch.context() as patch:
        patch.setenv("RECLM_HOME", str(home))
        assert main([*publish, "--model", str(model_folder)]) == 0

    adapter = find_adapter(home, NAME)
    server = VllmServer(tmp_path, model=adapter.merged, name=NAME)
    service = Service(
        tmp_path, env={**service_env, **adapter.settings, "RECLM_VLLM_URL": server.url}
    )
    try:
        server.start()
        service.start()
        body = {"id": "trained", "history": [{"title": "Alien (1979)", "category": "Horror"}]}
        answer = httpx.post(f"{service.url}/profiles/user", json=body, timeout=120)
        version = answer.raise_for_status().json()["version"]
        assert version["adapter"] == {"name": NAME, "hash": adapter.digest}
        assert version["base_model"]["name"] == MODEL

        rows = read_rows(HeldOut, seed / "held-out.jsonl")[:12]
        writers = {"base": LocalWriter(model_folder), NAME: ServedWriter(server.url, NAME)}
        judged, _ = compare(writers, rows)
    finally:
        service.process.stop()
        server.process.stop()
    assert judged["base"].well_formed < 0.2
    assert judged[NAME].well_formed > 0.5
    assert judged[NAME].distinct > 0.5
