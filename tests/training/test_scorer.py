from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch

from tests.training import tiny
from training.chat import encode
from training.errors import TrainingError
from training.lora import add_adapter, load_model, load_tokenizer
from training.reward import RewardOptions, _Collator, _prompts, reward
from training.rows import PreferenceRow
from training.scorer import ModelReward, score_packs, scored

if TYPE_CHECKING:
    from pathlib import Path

    from transformers import PreTrainedTokenizerBase


@pytest.fixture
def tokenizer(tiny_model: Path) -> PreTrainedTokenizerBase:
    return load_tokenizer(tiny_model)


def test_a_row_s_score_is_what_the_model_gives_it_alone(
    tiny_model: Path, tokenizer: PreTrainedTokenizerBase
) -> None:
    rows = [PreferenceRow.model_validate(row) for row in tiny.preference_rows(20)]
    chats = [(*row.prompt, *answer) for row in rows for answer in (row.chosen, row.rejected)]
    alone = _scoring(tiny_model)
    # transformers scores the last token that does not pad; to this model's file the end of a turn does.
    alone.config.pad_token_id = tokenizer.pad_token_id
    with torch.no_grad():
        wanted = [
            float(alone(input_ids=torch.tensor([encode(tokenizer, chat)["input_ids"]])).logits)
            for chat in chats
        ]
    found = ModelReward(score_packs(_scoring(tiny_model)), tokenizer).scores(chats)
    assert found == pytest.approx(wanted, abs=1e-5)
    assert max(wanted) - min(wanted) > 0.1


def test_pairs_of_one_prompt_come_together_and_each_answer_once(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    rows = [PreferenceRow.model_validate(row) for row in tiny.preference_rows(5)]
    again = rows[0].model_copy(update={"rejected": rows[1].chosen})
    prompts, left_out = _prompts(tokenizer, [*rows, again], 1024)
    assert (len(prompts), left_out) == (5, 0)
    assert [len(prompt["pairs"]) for prompt in prompts] == [2, 1, 1, 1, 1]
    inputs = _Collator(0)(prompts[:2])
    assert inputs["pairs"].tolist() == [[0, 1], [0, 2], [3, 4]]
    assert inputs["pack_rows"] == 5


def test_a_row_may_be_the_beginning_of_another() -> None:
    inputs = scored([[5, 6], [5, 6, 7]], padding=0)
    assert inputs["pack_shared"] == 1
    assert inputs["input_ids"].tolist() == [[5, 6, 0, 6, 7]]
    assert inputs["pack_ends"].tolist() == [1, 4]


def test_gradients_reach_adapter_and_head(
    tiny_model: Path, tokenizer: PreTrainedTokenizerBase
) -> None:
    model = add_adapter(score_packs(_scoring(tiny_model)), tiny.LORA, scoring=True)
    rows = [PreferenceRow.model_validate(row) for row in tiny.preference_rows(3)]
    inputs = _Collator(0)(_prompts(tokenizer, rows, 1024)[0])
    pairs = inputs.pop("pairs")
    scores = model(**inputs).logits[:, 0]
    (scores[pairs[:, 0]] - scores[pairs[:, 1]]).sum().backward()
    without = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert without == []
    assert any("score" in name for name, p in model.named_parameters() if p.grad is not None)


def test_several_gpus_in_one_process_are_refused(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trl.RewardConfig.n_gpu", 2, raising=False)
    data = tiny.write_rows(tmp_path / "pairs.jsonl", tiny.preference_rows(6))
    places = tiny.places(tiny_model, data, tmp_path / "run", evaluation=data)
    with pytest.raises(TrainingError, match="2 GPUs in one process take no packs"):
        reward(RewardOptions(lora=tiny.LORA), places, tell=print)


def _scoring(folder: Path) -> Any:
    torch.manual_seed(0)
    return load_model(folder, dtype=torch.float32, scoring=True).eval()
