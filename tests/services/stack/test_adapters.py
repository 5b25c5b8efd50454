from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from services.assets.manifest import Origin, verify, write_manifest
from services.common.manifests import content_hash
from services.profiles.generation.prompts.base import component
from services.profiles.generation.prompts.registry import CURRENT, PROMPTS
from services.stack.adapters import SHIPPED, find_adapter
from services.stack.errors import StackError
from services.stack.parts import MODEL, StackParts, _served, with_adapter, with_shipped_adapter
from services.stack.steps import Steps
from tests.services.profiles.generation.prompts.versions import ProfileV2

if TYPE_CHECKING:
    from pathlib import Path

    from services.stack.environment import Flavour

PROMPT = dataclasses.asdict(component(CURRENT, examples=False))
WEIGHT = "model.layers.0.self_attn.q_proj.weight"
RANK = 24


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with a base model of zeros and an adapter that changes them to twos."""
    base = tmp_path / "models" / "base"
    base.mkdir(parents=True)
    save_file({WEIGHT: np.zeros((2, 3), np.float16)}, base / "model.safetensors")
    (base / "config.json").write_text('{"model_type": "llama"}')
    write_manifest(base, Origin("base", "here", "Apache-2.0"))
    folder = tmp_path / "adapters" / "films-1"
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text(json.dumps({"r": RANK, "lora_alpha": 2}))
    layer = f"base_model.model.{WEIGHT.removesuffix('.weight')}"
    factors = {"A": np.ones((RANK, 3), np.float32), "B": np.ones((2, RANK), np.float32)}
    save_file(
        {f"{layer}.lora_{name}.weight": factor for name, factor in factors.items()},
        folder / "adapter_model.safetensors",
    )
    write_manifest(folder, Origin("films-1", "reclm-train distill", "Apache-2.0"))
    path = folder / "manifest.json"
    origin = {"base_model": {"name": "base", "hash": content_hash(base)}, "prompt": PROMPT}
    path.write_text(json.dumps(json.loads(path.read_text()) | origin))
    return tmp_path


def parts_of(home: Path, flavour: Flavour) -> StackParts:
    base = home / "models" / "base"
    return StackParts("base", base, home, None, None, None, home / "python", flavour)


def adapted(home: Path, flavour: Flavour) -> StackParts:
    return dataclasses.replace(parts_of(home, flavour), adapter=find_adapter(home, "films-1"))


def test_a_cpu_serves_the_merged_model_under_the_adapters_name(home: Path) -> None:
    merged = str(find_adapter(home, "films-1").merged)
    assert _served(adapted(home, "cpu")) == ["--model", merged, "--served-model-name", "films-1"]


def test_a_gpu_serves_base_and_adapter(home: Path) -> None:
    served = _served(adapted(home, "cuda"))
    assert served[:4] == ["--model", str(home / "models/base"), "--served-model-name", "base"]
    assert served[served.index("--max-lora-rank") + 1] == "32"
    assert served[-1] == f"films-1={home / 'adapters/films-1'}"


def test_a_cpu_gets_the_merged_model_made(home: Path) -> None:
    parts = parts_of(home, "cpu")
    with_adapter(parts, find_adapter(home, "films-1"), Steps())
    merged = find_adapter(home, "films-1").merged
    assert np.allclose(load_file(merged / "model.safetensors")[WEIGHT], 2)
    assert json.loads((merged / "config.json").read_text()) == {"model_type": "llama"}
    assert verify(merged).origin.licence == "Apache-2.0"
    before = (merged / "model.safetensors").stat()
    with_adapter(parts, find_adapter(home, "films-1"), Steps())
    assert (merged / "model.safetensors").stat() == before, "what is there is not made again"


def test_a_gpu_needs_no_merged_model(home: Path) -> None:
    with_adapter(parts_of(home, "cuda"), find_adapter(home, "films-1"), Steps())
    assert [path.name for path in (home / "models").iterdir()] == ["base"]


def test_an_adapter_for_another_base_is_refused(home: Path) -> None:
    save_file({WEIGHT: np.ones((2, 3), np.float16)}, home / "models/base/model.safetensors")
    (home / "models/base/manifest.json").unlink()
    for flavour in ("cpu", "cuda"):
        with pytest.raises(StackError, match="was trained on base"):
            with_adapter(parts_of(home, flavour), find_adapter(home, "films-1"), Steps())
    assert [path.name for path in (home / "models").iterdir()] == ["base"]


def test_an_adapter_that_changed_is_folded_again(home: Path) -> None:
    first = find_adapter(home, "films-1")
    with_adapter(parts_of(home, "cpu"), first, Steps())
    folder = home / "adapters" / "films-1"
    (folder / "adapter_config.json").write_text(json.dumps({"r": RANK, "lora_alpha": 4}))
    document = json.loads((folder / "manifest.json").read_text())
    write_manifest(folder, Origin("films-1", "reclm-train distill", "Apache-2.0"))
    files = json.loads((folder / "manifest.json").read_text())["files"]
    (folder / "manifest.json").write_text(json.dumps(document | {"files": files}))
    second = find_adapter(home, "films-1")
    with_adapter(parts_of(home, "cpu"), second, Steps())
    assert second.digest != first.digest
    assert np.allclose(load_file(second.merged / "model.safetensors")[WEIGHT], 4)


def test_what_reclm_train_merged_is_served_as_it_is(home: Path) -> None:
    merged = home / "models" / "films-1"
    merged.mkdir()
    digest = find_adapter(home, "films-1").digest
    (merged / "manifest.json").write_text(json.dumps({"adapter": digest}))
    assert find_adapter(home, "films-1").merged == merged
    for other in ({}, {"adapter": "0123456789ab"}):  # a base model, or another adapter's
        (merged / "manifest.json").write_text(json.dumps(other))
        assert find_adapter(home, "films-1").merged == home / "models" / f"films-1-{digest}"


def test_the_shipped_adapter_goes_with_the_model_it_is_for(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = dataclasses.replace(parts_of(home, "cuda"), model_name=MODEL)
    assert with_shipped_adapter(other, home, Steps()).adapter is None
    assert "reclm-seed-1 was not trained on" in capsys.readouterr().err
    assert with_shipped_adapter(parts_of(home, "cuda"), home, Steps()).adapter is None
    assert capsys.readouterr().err == "", "another model: nobody expects it"


def test_the_shipped_adapter_is_whole(home: Path) -> None:
    adapter = find_adapter(home, SHIPPED)
    verify(adapter.folder)
    manifest = json.loads((adapter.folder / "manifest.json").read_text())
    assert manifest["prompt"] == PROMPT
    adapter.require_prompt(None)
    assert sum(path.stat().st_size for path in adapter.folder.iterdir()) < 5_000_000


def trained_with(home: Path, name: str, digest: str) -> None:
    """Has the manifest of films-1 name another prompt."""
    path = home / "adapters" / "films-1" / "manifest.json"
    document = json.loads(path.read_text()) | {"prompt": {"name": name, "hash": digest}}
    path.write_text(json.dumps(document))


@pytest.mark.parametrize("flavour", ["cpu", "cuda"])
@pytest.mark.parametrize(
    ("name", "digest"), [(CURRENT.name, "0123456789ab"), ("profile-v0", PROMPT["hash"])]
)
def test_an_adapter_of_another_prompt_is_refused(
    name: str, digest: str, flavour: Flavour, home: Path
) -> None:
    trained_with(home, name, digest)
    with pytest.raises(StackError) as refused:
        with_adapter(parts_of(home, flavour), find_adapter(home, "films-1"), Steps())
    for said in (f"{name} ({digest})", f"{CURRENT.name} ({PROMPT['hash']})", "--no-adapter"):
        assert said in str(refused.value)
    assert [path.name for path in (home / "models").iterdir()] == ["base"]


def test_an_adapter_is_refused_where_the_settings_ask_for_another_prompt(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = ProfileV2()
    digest = component(later, examples=False).hash
    monkeypatch.setitem(PROMPTS, later.name, later)
    monkeypatch.setenv("RECLM_PROMPT", later.name)
    parts = parts_of(home, "cuda")
    with pytest.raises(StackError, match=rf"{PROMPT['hash']}\).*{later.name} \({digest}"):
        with_adapter(parts, find_adapter(home, "films-1"), Steps())

    trained_with(home, later.name, digest)
    served = with_adapter(parts, find_adapter(home, "films-1"), Steps()).adapter
    assert served is not None
    assert served.settings["RECLM_PROMPT"] == later.name

    monkeypatch.setenv("RECLM_PROMPT", CURRENT.name)
    with pytest.raises(StackError, match=rf"{digest}\).*{CURRENT.name}"):
        with_adapter(parts, find_adapter(home, "films-1"), Steps())
    monkeypatch.setenv("RECLM_PROMPT", "no-such")
    with pytest.raises(StackError, match="there is no prompt 'no-such'"):
        with_adapter(parts, find_adapter(home, "films-1"), Steps())
    monkeypatch.delenv("RECLM_PROMPT")
    assert with_adapter(parts, find_adapter(home, "films-1"), Steps()).adapter == served


def test_a_manifest_without_a_prompt_is_damaged(home: Path) -> None:
    path = home / "adapters" / "films-1" / "manifest.json"
    document = json.loads(path.read_text())
    del document["prompt"]
    path.write_text(json.dumps(document))
    with pytest.raises(StackError, match=r"is damaged.*prompt"):
        find_adapter(home, "films-1")


def test_the_generator_inside_the_service_takes_none(home: Path) -> None:
    parts = dataclasses.replace(parts_of(home, "cpu"), vllm_python=None)
    with pytest.raises(StackError, match="an adapter needs vLLM"):
        with_adapter(parts, find_adapter(home, "films-1"), Steps())


def test_the_service_gets_name_hash_and_prompt(home: Path) -> None:
    adapter = find_adapter(home, "films-1")
    assert adapter.settings == {
        "RECLM_ADAPTER": "films-1",
        "RECLM_ADAPTER_HASH": adapter.digest,
        "RECLM_ADAPTER_PATH": str(home / "adapters" / "films-1"),
        "RECLM_PROMPT": CURRENT.name,
    }
    assert len(adapter.digest) == 12
    with pytest.raises(StackError, match="no adapter films-2"):
        find_adapter(home, "films-2")
    (home / "adapters" / "films-1" / "adapter_config.json").write_text("{")
    with pytest.raises(StackError, match="is damaged"):
        find_adapter(home, "films-1")
