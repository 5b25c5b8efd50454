from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from services.assets.manifest import Origin, write_manifest
from services.stack.adapters import find_adapter
from services.stack.errors import StackError
from services.stack.parts import Parts, _served

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with an adapter of rank 24, and no merged model of it."""
    folder = tmp_path / "adapters" / "films-1"
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text(json.dumps({"r": 24}))
    write_manifest(folder, Origin("films-1", "reclm-train distill", "Apache-2.0"))
    path = folder / "manifest.json"
    document = json.loads(path.read_text()) | {"base_model": {"name": "base", "hash": "0"}}
    path.write_text(json.dumps(document))
    return tmp_path


def _parts(home: Path, flavour: str) -> Parts:
    adapter = find_adapter(home, "films-1")
    return Parts(
        "base", home / "models" / "base", home, None, None, None, None, flavour, adapter  # type: ignore[arg-type]
    )  # fmt: skip


def test_a_cpu_serves_the_merged_model_under_the_adapters_name(home: Path) -> None:
    merged = str(home / "models" / "films-1")
    assert _served(_parts(home, "cpu")) == ["--model", merged, "--served-model-name", "films-1"]


def test_a_gpu_serves_base_and_adapter(home: Path) -> None:
    served = _served(_parts(home, "cuda"))
    assert served[:4] == ["--model", str(home / "models/base"), "--served-model-name", "base"]
    assert served[served.index("--max-lora-rank") + 1] == "32"
    assert served[-1] == f"films-1={home / 'adapters/films-1'}"


def test_a_cpu_without_the_merged_model_is_told_how_to_get_it(home: Path) -> None:
    adapter = find_adapter(home, "films-1")
    with pytest.raises(StackError, match="publish --merged"):
        adapter.require_servable("cpu")
    adapter.require_servable("cuda")
    (home / "models" / "films-1").mkdir(parents=True)
    write_manifest(home / "models" / "films-1", Origin("films-1", "here", "Apache-2.0"))
    adapter.require_servable("cpu")


def test_the_service_is_told_name_and_hash(home: Path) -> None:
    adapter = find_adapter(home, "films-1")
    assert adapter.settings == {"RECLM_ADAPTER": "films-1", "RECLM_ADAPTER_HASH": adapter.digest}
    assert len(adapter.digest) == 12
    with pytest.raises(StackError, match="no adapter films-2"):
        find_adapter(home, "films-2")
    (home / "adapters" / "films-1" / "adapter_config.json").write_text("{")
    with pytest.raises(StackError, match="is damaged"):
        find_adapter(home, "films-1")
