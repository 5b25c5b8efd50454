"""A reward model at work: a score for each answer, read in packs."""

from __future__ import annotations

from types import MethodType
from typing import TYPE_CHECKING, Any

import torch
from peft import PeftModel
from transformers.modeling_outputs import SequenceClassifierOutput

from training.adapters import chain, check_base, read_adapter
from training.chat import encode
from training.errors import TrainingError
from training.lora import load_model
from training.packing import common, lay_out, take_packs
from training.rows import Turn

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from training.rows import PolicyRow

_BATCH = 16


class ModelReward:
    """A trained reward model, asked for its score of an answer to a prompt.

    Args:
        model: Scores rows of packs (`score_packs`).
        tokenizer: Its tokenizer.
    """

    def __init__(
        self, model: PreTrainedModel | PeftModel, tokenizer: PreTrainedTokenizerBase
    ) -> None:
        self.model: Any = model.eval()
        self._tokenizer = tokenizer

    def __call__(self, rows: Sequence[PolicyRow], answers: Sequence[str]) -> list[float]:
        """Returns a score for each answer."""
        chats = [
            (*row.prompt, Turn(role="assistant", content=answer))
            for row, answer in zip(rows, answers, strict=True)
        ]
        return self.scores(chats)

    @torch.no_grad()
    def scores(self, chats: Sequence[Sequence[Turn]]) -> list[float]:
        """Returns a score for each chat, by its last token."""
        found: list[float] = []
        for first in range(0, len(chats), _BATCH):
            ids = [
                encode(self._tokenizer, chat)["input_ids"] for chat in chats[first : first + _BATCH]
            ]
            inputs = scored(ids, padding=int(self._tokenizer.pad_token_id))
            on_device = {
                name: value.to(self.model.device) if isinstance(value, torch.Tensor) else value
                for name, value in inputs.items()
            }
            found += self.model(**on_device).logits[:, 0].float().tolist()
        return found


def scored(rows: Sequence[Sequence[int]], *, padding: int) -> dict[str, Any]:
    """Returns the input of a model that `score_packs` was given, for so many rows of tokens."""
    shared = common(rows, min(map(len, rows)) - 1)
    inputs = lay_out(rows, shared=shared, padding=padding)
    rest = max(map(len, rows)) - shared
    ends = [number * rest + len(row) - 1 for number, row in enumerate(rows)]
    return {**inputs, "pack_ends": torch.tensor(ends)}


def score_packs(model: PreTrainedModel) -> PreTrainedModel:
    """Has a scoring model read packs, and score each of their rows by its last token.

    Args:
        model: With a head for one number.

    Returns:
        The same model. Its forward takes what `scored` returns, and gives logits of shape (rows, 1).
    """
    take_packs(model)
    model.forward = MethodType(_score, model)
    return model


def _score(
    self: Any,  # noqa: ANN401 - a scoring model of any kind
    *,
    pack_ends: torch.Tensor,
    **inputs: Any,  # noqa: ANN401 - whatever PEFT passes on
) -> SequenceClassifierOutput:
    given = {name: value for name, value in inputs.items() if value is not None}
    body = getattr(self, self.base_model_prefix)
    hidden = body(**{**given, "use_cache": False}).last_hidden_state
    return SequenceClassifierOutput(logits=self.score(hidden[0, pack_ends]))


def load_reward_model(model: Path, adapter: Path, dtype: torch.dtype) -> PreTrainedModel:
    """Returns a reward model with its adapter and head folded in.

    Raises:
        TrainingError: The adapter is no reward model, or for another base.
    """
    if read_adapter(adapter).job != "reward":
        raise TrainingError(f"{adapter} is no reward model; make one with reclm-train reward")
    check_base(adapter, model)
    *parents, last = chain(adapter)
    body = load_model(model, parents, dtype=torch.float32, scoring=True)
    scorer: Any = PeftModel.from_pretrained(body, str(last)).merge_and_unload()
    result: PreTrainedModel = scorer.to(dtype).eval()
    return result


def load_judge(
    model: Path, adapter: Path, tokenizer: PreTrainedTokenizerBase, *, dtype: torch.dtype
) -> ModelReward:
    """Returns a reward model that scores answers.

    Raises:
        TrainingError: As `load_reward_model` does.
    """
    return ModelReward(score_packs(load_reward_model(model, adapter, dtype)), tokenizer)
