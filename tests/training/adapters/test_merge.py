from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest
import torch

from services.assets import manifest as assets
from services.common import manifests
from tests.training import tiny
from training.adapters.manifest import content_hash
from training.adapters.merge import merge, unmerged
from training.data.rows import ProfileRow
from training.errors import TrainingError
from training.jobs.distill import DistillOptions, distill
from training.modeling.chat import prompt_text, token_ids
from training.modeling.lora import load_model, load_tokenizer

if TYPE_CHECKING:
    from pathlib import Path

OPTIONS = DistillOptions(
    lora=tiny.LORA, learning_rate=2e-2, per_device_train_batch_size=1, max_length=512, max_steps=4,
    activation_checkpointing=False, bf16=False, save_steps=100,
)  # fmt: skip
PROMPTS = [ProfileRow.model_validate(row).prompt for row in tiny.distill_rows(4)]


@pytest.fixture(scope="module")
def adapters(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("adapters")
    data = tiny.write_rows(folder / "rows.jsonl", tiny.distill_rows(6))
    first = distill(OPTIONS, tiny.paths(tiny_model, data, folder / "one"), progress=print)
    second = distill(
        OPTIONS, tiny.paths(tiny_model, data, folder / "two", start=first), progress=print
    )
    return first, second


def _logits(model: object, tiny_model: Path) -> torch.Tensor:
    tokenizer = load_tokenizer(tiny_model)
    ids = token_ids(tokenizer, prompt_text(tokenizer, PROMPTS[0]))
    with torch.no_grad():
        return model(input_ids=torch.tensor([ids])).logits  # type: ignore[operator]


def test_a_chain_merges_and_agrees_with_itself_unmerged(
    tiny_model: Path, adapters: tuple[Path, Path], tmp_path: Path
) -> None:
    told: list[str] = []
    agreement = merge(
        tiny_model, adapters[1], tmp_path / "merged", prompts=PROMPTS, progress=told.append
    )
    assert told[-1] == "compared prompt 4 of 4, 0:00:00 left"
    assert 0 < agreement.largest < agreement.rounding < 1e-4
    assert agreement.largest < agreement.plain < 1e-4
    assert agreement.stored == agreement.plain  # this model is stored in float32
    assert str(agreement).startswith("4 of 4 greedy answers are equal; logits differ by at most ")
    assert f"{agreement.largest:.1e} in float32 with" in str(agreement)
    assert (agreement.same_answers, agreement.prompts) == (4, 4)
    merged = _logits(load_model(tmp_path / "merged", dtype=torch.float32), tiny_model)
    both = _logits(unmerged(tiny_model, list(adapters)), tiny_model)
    last = _logits(unmerged(tiny_model, [adapters[1]]), tiny_model)
    torch.testing.assert_close(merged, both, atol=1e-4, rtol=0)
    assert (merged - last).abs().max() > 1e-2


def test_the_service_reads_a_merged_model_as_one_of_its_assets(
    tiny_model: Path,
    adapters: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = tmp_path / "model"
    shutil.copytree(tiny_model, model)
    (model / "LICENSE").write_text("free")
    (model / "pytorch_model.bin").write_bytes(b"old weights")
    monkeypatch.setattr("training.adapters.merge.check_base", lambda *_: None)
    merge(model, adapters[0], tmp_path / "merged-1", prompts=PROMPTS[:1])
    copied = {path.name for path in (tmp_path / "merged-1").iterdir()}
    assert {"tokenizer.json", "tokenizer_config.json", "LICENSE", "config.json"} < copied
    assert "pytorch_model.bin" not in copied
    found = assets.verify(tmp_path / "merged-1")
    assert found.origin.name == "merged-1"
    assert content_hash(adapters[0]) in found.origin.source
    assert assets.is_complete(tmp_path / "merged-1")
    assert content_hash(tmp_path / "merged-1") == manifests.content_hash(tmp_path / "merged-1")
    # A folder without a manifest has a hash as well, and it is the same one.
    assert content_hash(tiny_model) == manifests.content_hash(tiny_model)


def test_a_difference_between_merged_and_unmerged_is_told(
    tiny_model: Path,
    adapters: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "training.adapters.merge.unmerged", lambda model, folders: unmerged(model, folders[1:])
    )
    agreement = merge(tiny_model, adapters[1], tmp_path / "merged", prompts=PROMPTS)
    assert min(agreement.largest, agreement.plain) > 1e-2
    assert agreement.same_answers < agreement.prompts
    document = json.loads((tmp_path / "merged" / "manifest.json").read_text())
    assert document["agreement"]["largest"] == agreement.largest


def test_nothing_is_written_over_or_half_written(
    tiny_model: Path, adapters: tuple[Path, Path], tmp_path: Path
) -> None:
    (tmp_path / "there").mkdir()
    with pytest.raises(TrainingError, match="exists already"):
        merge(tiny_model, adapters[0], tmp_path / "there", prompts=PROMPTS)
    with pytest.raises(TrainingError, match="is not an adapter"):
        merge(tiny_model, tmp_path, tmp_path / "new", prompts=PROMPTS)
    assert [path.name for path in tmp_path.iterdir()] == ["there"]
