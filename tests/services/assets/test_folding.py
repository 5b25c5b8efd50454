from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import load_file, save_file

from services.assets.errors import AssetError
from services.assets.folding import fold
from services.common.manifests import MANIFEST
from tests.training import tiny
from training.modeling.lora import add_adapter, load_model

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Tensors = dict[str, torch.Tensor]

WEIGHTS = "model.safetensors"


@pytest.fixture
def base(model_folder: Path, tmp_path: Path) -> Path:
    return tiny.make_model(tmp_path / "base", model_folder)


@pytest.fixture
def adapter(base: Path, tmp_path: Path) -> Path:
    """An adapter for every linear layer, written by PEFT."""
    torch.manual_seed(0)
    model = add_adapter(load_model(base, dtype=torch.float32), tiny.LORA)
    for name, weight in model.named_parameters():
        if "lora_" in name:
            weight.data.normal_(0, 0.1)
            weight.data = weight.data.bfloat16()
    model.save_pretrained(str(tmp_path / "adapter"), save_embedding_layers=False)
    return tmp_path / "adapter"


@pytest.mark.parametrize("kind", [torch.float32, torch.float16, torch.bfloat16])
def test_it_is_what_peft_makes_of_them(
    base: Path, adapter: Path, tmp_path: Path, kind: torch.dtype
) -> None:
    load_model(base, dtype=kind).save_pretrained(str(tmp_path / "as"))
    (tmp_path / "as" / MANIFEST).write_text("{}")
    (tmp_path / "as" / "tokenizer.json").write_text("{}")
    target = tmp_path / "folded"
    target.mkdir()
    fold(tmp_path / "as", adapter, target)
    found = load_file(target / WEIGHTS)
    load_model(tmp_path / "as", [adapter], dtype=kind).save_pretrained(str(tmp_path / "peft"))
    wanted = load_file(tmp_path / "peft" / WEIGHTS)
    assert found.keys() == wanted.keys()
    before = load_file(tmp_path / "as" / WEIGHTS)
    assert sum(not torch.equal(found[name], before[name]) for name in found) == 14
    for name, tensor in found.items():
        assert tensor.dtype == kind
        # The last bit may differ, since the sums are computed in another order.
        torch.testing.assert_close(tensor, wanted[name], rtol=2 * torch.finfo(kind).eps, atol=1e-6)
    assert {path.name for path in target.iterdir()} == {
        path.name for path in (tmp_path / "as").iterdir() if path.name != MANIFEST
    }


def test_an_adapter_that_is_more_than_a_product_is_refused(adapter: Path, base: Path) -> None:
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"use_dora": True}))
    with pytest.raises(AssetError, match="use_dora: merge it with reclm-train merge"):
        fold(base, adapter, base)


def test_a_base_without_its_layers_is_refused(
    adapter: Path, model_folder: Path, tmp_path: Path
) -> None:
    other = tiny.make_model(tmp_path / "other", model_folder, layers=1)
    (tmp_path / "folded").mkdir()
    with pytest.raises(AssetError, match=r"changes model\.layers\.1\..* does not have"):
        fold(other, adapter, tmp_path / "folded")


def test_a_base_in_several_files_keeps_them(base: Path, adapter: Path, tmp_path: Path) -> None:
    whole, shards = tmp_path / "whole", tmp_path / "shards"
    whole.mkdir()
    fold(base, adapter, whole)
    load_model(base, dtype=torch.float32).save_pretrained(str(shards), max_shard_size="3MB")
    assert len(list(shards.glob("*.safetensors"))) > 1
    target = tmp_path / "target"
    target.mkdir()
    fold(shards, adapter, target)
    assert {path.name for path in target.iterdir()} == {path.name for path in shards.iterdir()}
    found = {k: v for path in target.glob("*.safetensors") for k, v in load_file(path).items()}
    for name, tensor in load_file(whole / WEIGHTS).items():
        torch.testing.assert_close(found[name], tensor)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (
            lambda factors: factors | {"base_model.model.lm_head.weight": torch.ones(2)},
            "not a factor",
        ),
        (lambda factors: dict(list(factors.items())[1:]), "damaged: KeyError"),
        (lambda factors: {name: t[:, :1] for name, t in factors.items()}, "for another base"),
        (lambda factors: {name: t * 1e30 for name, t in factors.items()}, "too large for float32"),
        (lambda factors: {name: t.int() for name, t in factors.items()}, "holds I32; only F32"),
    ],
)
def test_factors_that_make_no_model_are_refused(
    base: Path, adapter: Path, tmp_path: Path, change: Callable[[Tensors], Tensors], match: str
) -> None:
    path = adapter / "adapter_model.safetensors"
    changed = change(load_file(path))
    save_file({name: tensor.contiguous() for name, tensor in changed.items()}, path)
    (tmp_path / "folded").mkdir()
    with pytest.raises(AssetError, match=match):
        fold(base, adapter, tmp_path / "folded")


def test_a_damaged_adapter_is_refused(base: Path, adapter: Path) -> None:
    (adapter / "adapter_model.safetensors").write_bytes(b"else")
    with pytest.raises(AssetError, match="is damaged: SafetensorError"):
        fold(base, adapter, base)
