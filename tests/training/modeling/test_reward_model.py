from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import torch
from peft import PeftModel

from services.common.manifests import MANIFEST
from tests.training import tiny
from training.data.rows import PreferenceRow, Turn, read_rows
from training.errors import TrainingError
from training.jobs.reward import RewardOptions, _Collator, _prompts, reward
from training.modeling.chat import encode
from training.modeling.lora import add_adapter, load_model, load_tokenizer
from training.modeling.reward_model import (
    EncodedAnswer,
    ModelReward,
    load_reward_scorer,
    read_answer,
    score_packs,
    scored,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
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
    found = _reward_model(tiny_model, tokenizer, mutual_information=0.0).scores(chats)
    assert found == pytest.approx(wanted, abs=1e-5)
    assert max(wanted) - min(wanted) > 0.1


@pytest.mark.parametrize("tied", [True, False])
def test_mutual_information_is_how_much_likelier_a_prompt_makes_the_words_of_an_answer(
    tiny_model: Path, tokenizer: PreTrainedTokenizerBase, tmp_path: Path, *, tied: bool
) -> None:
    model = tiny.make_model(tmp_path / "model", tiny_model, tied=tied)
    rows = [PreferenceRow.model_validate(row) for row in tiny.preference_rows(20)]
    chats = [(*row.prompt, *answer) for row in rows for answer in (row.chosen, row.rejected)]
    writer = load_model(model, dtype=torch.float32).eval()

    def likelihood(chat: Sequence[Turn]) -> float:
        read = {name: torch.tensor([ids]) for name, ids in encode(tokenizer, chat).items()}
        with torch.no_grad():
            return -float(writer(**read).loss)

    wanted = [
        likelihood(chat)
        - likelihood([_emptied(turn) if turn.role == "user" else turn for turn in chat])
        for chat in chats
    ]
    without = _reward_model(model, tokenizer, mutual_information=0.0).scores(chats)
    found = _reward_model(model, tokenizer, mutual_information=3.0).scores(chats)
    told = [(more - less) / 3.0 for more, less in zip(found, without, strict=True)]
    assert told == pytest.approx(wanted, abs=1e-5)
    assert max(wanted) - min(wanted) > 0.01


def test_a_reward_model_scores_as_what_was_trained(
    tiny_model: Path, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    data = tiny.write_rows(tmp_path / "pairs.jsonl", tiny.preference_rows(4))
    paths = tiny.paths(tiny_model, data, tmp_path / "run", evaluation=data)
    options = RewardOptions(
        lora=tiny.LORA, learning_rate=0.01, num_train_epochs=5, mutual_information=7.0
    )
    adapter = reward(options, paths, progress=lambda _: None)
    rows = read_rows(PreferenceRow, data)
    chats = [(*row.prompt, *answer) for row in rows for answer in (row.chosen, row.rejected)]
    body = score_packs(_scoring(tiny_model), mutual_information=7.0)
    trained = ModelReward(PeftModel.from_pretrained(body, str(adapter)), tokenizer)
    reward_model = load_reward_scorer(tiny_model, adapter, tokenizer, dtype=torch.float32)
    assert reward_model.scores(chats) == pytest.approx(trained.scores(chats), abs=1e-4)
    untrained = _reward_model(tiny_model, tokenizer, mutual_information=7.0)
    assert reward_model.scores(chats) != pytest.approx(untrained.scores(chats), abs=0.01)


def test_a_reward_model_of_an_adapter_from_before_reads_no_likelihood(
    tiny_model: Path, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    data = tiny.write_rows(tmp_path / "pairs.jsonl", tiny.preference_rows(4))
    paths = tiny.paths(tiny_model, data, tmp_path / "run", evaluation=data)
    adapter = reward(RewardOptions(lora=tiny.LORA, max_steps=1), paths, progress=lambda _: None)
    manifest = json.loads((adapter / MANIFEST).read_text())
    assert manifest["config"].pop("mutual_information") == 10
    (adapter / MANIFEST).write_text(json.dumps(manifest))
    reward_model = load_reward_scorer(tiny_model, adapter, tokenizer, dtype=torch.float32)
    assert reward_model.model.mutual_information == 0


def test_scores_in_bfloat16_are_not_rounded_to_it(
    tiny_model: Path, tokenizer: PreTrainedTokenizerBase
) -> None:
    rows = [PreferenceRow.model_validate(row) for row in tiny.preference_rows(20)]
    chats = [(*row.prompt, *row.chosen) for row in rows]
    narrow = load_model(tiny_model, dtype=torch.bfloat16, scoring=True)
    torch.nn.init.zeros_(narrow.score.weight)
    wide = _scoring(tiny_model)
    torch.nn.init.zeros_(wide.score.weight)
    found, wanted = (
        ModelReward(score_packs(model, mutual_information=100.0), tokenizer).scores(chats)
        for model in (narrow, wide)
    )
    assert found == pytest.approx(wanted, abs=1.0)
    assert any(float(torch.tensor(score).bfloat16()) != score for score in found)


def test_a_model_that_does_more_with_logits_is_refused_likelihoods(tiny_model: Path) -> None:
    scaled = _scoring(tiny_model)
    scaled.word_head = None  # as `load_model` leaves it then
    with pytest.raises(TrainingError, match="set mutual_information to 0"):
        score_packs(scaled, mutual_information=1.0)
    score_packs(scaled, mutual_information=0.0)


def test_a_model_that_scales_its_logits_has_no_plain_word_head(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transformers.LlamaConfig.logits_scaling", 8.0, raising=False)
    assert _scoring(tiny_model).word_head is None


def test_what_was_said_before_an_answer_is_not_of_its_words(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    ask, say = Turn(role="user", content="a"), Turn(role="assistant", content="b")
    once, twice = read_answer(tokenizer, [ask, say]), read_answer(tokenizer, [ask, say, ask, say])
    assert once.words == twice.words
    assert once.tokens[-once.words :] == twice.plain[-once.words :]


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
    inputs = scored(
        [EncodedAnswer([5, 6], [4, 6], 1), EncodedAnswer([5, 6, 7], [4, 6, 7], 2)], padding=0
    )
    assert inputs["pack_shared"] == 1
    assert inputs["input_ids"].tolist() == [[5, 6, 0, 6, 7]]
    assert inputs["pack_ends"].tolist() == [1, 4]
    # Each word's place before it, which may be of the beginning; the word; and whose it is.
    assert inputs["pack_words"].T.tolist() == [[0, 6, 0], [0, 6, 1], [3, 7, 1]]
    assert inputs["pack_plain"]["input_ids"].tolist() == [[4, 6, 0, 6, 7]]


def test_gradients_reach_adapter_and_head(
    tiny_model: Path, tokenizer: PreTrainedTokenizerBase
) -> None:
    body = score_packs(_scoring(tiny_model), mutual_information=1.0)
    model = add_adapter(body, tiny.LORA, scoring=True)
    _margin(model, tokenizer).backward()
    without = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert without == []
    assert any("score" in name for name, p in model.named_parameters() if p.grad is not None)


def test_likelihood_teaches_the_adapter_too(
    tiny_model: Path, tokenizer: PreTrainedTokenizerBase
) -> None:
    body = score_packs(_scoring(tiny_model), mutual_information=1.0)
    torch.nn.init.zeros_(body.score.weight)  # nothing comes through the head
    model = add_adapter(body, tiny.LORA, scoring=True)
    _margin(model, tokenizer).backward()
    grown = [p.grad.abs().max() for n, p in model.named_parameters() if "lora_B" in n]
    assert min(grown) > 0


def test_several_gpus_in_one_process_are_refused(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trl.RewardConfig.n_gpu", 2, raising=False)
    data = tiny.write_rows(tmp_path / "pairs.jsonl", tiny.preference_rows(6))
    paths = tiny.paths(tiny_model, data, tmp_path / "run", evaluation=data)
    with pytest.raises(TrainingError, match="2 GPUs in one process cannot share packs"):
        reward(RewardOptions(lora=tiny.LORA), paths, progress=print)


def _margin(model: Any, tokenizer: PreTrainedTokenizerBase) -> torch.Tensor:
    rows = [PreferenceRow.model_validate(row) for row in tiny.preference_rows(3)]
    inputs = _Collator(0)(_prompts(tokenizer, rows, 1024)[0])
    pairs = inputs.pop("pairs")
    scores = model(**inputs).logits[:, 0]
    return (scores[pairs[:, 0]] - scores[pairs[:, 1]]).sum()


def _emptied(turn: Turn) -> Turn:
    return Turn(role=turn.role, content="")


def _reward_model(
    folder: Path, tokenizer: PreTrainedTokenizerBase, *, mutual_information: float
) -> ModelReward:
    return ModelReward(
        score_packs(_scoring(folder), mutual_information=mutual_information), tokenizer
    )


def _scoring(folder: Path) -> Any:
    torch.manual_seed(0)
    return load_model(folder, dtype=torch.float32, scoring=True).eval()
