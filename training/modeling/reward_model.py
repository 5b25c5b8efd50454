"""The reward model in use: a score for each answer, computed in packs.

A score is the sum of the head's output at the last token of the answer and, weighted, the pointwise
mutual information of prompt and answer per token of the answer: how much likelier the answer is after
this prompt than after the same prompt with empty user turns. The head learns the form of profiles
soon. Whether a profile fits the user is what the likelihood of a model that writes profiles measures.
"""

from __future__ import annotations

from types import MethodType
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from accelerate.utils import send_to_device
from peft import PeftModel
from transformers.modeling_outputs import SequenceClassifierOutput

from training.adapters.manifest import chain, check_base, read_adapter
from training.data.rows import Turn
from training.errors import TrainingError
from training.modeling.chat import NO_LOSS, encode
from training.modeling.lora import load_model
from training.modeling.packing import common, lay_out, take_packs

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from training.data.rows import PolicyRow

_BATCH = 16


class EncodedAnswer(NamedTuple):
    """A prompt with an answer, as tokens.

    Attributes:
        tokens: Tokens of the prompt and the answer.
        plain: The same with empty user turns.
        words: Number of the answer's tokens, which are the last ones of both.
    """

    tokens: list[int]
    plain: list[int]
    words: int


class ModelReward:
    """The reward of a trained reward model.

    Args:
        model: A model that scores the rows of packs (`score_packs`).
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
        """Returns a score for the last turn of each chat."""
        found: list[float] = []
        for first in range(0, len(chats), _BATCH):
            answers = [read_answer(self._tokenizer, chat) for chat in chats[first : first + _BATCH]]
            inputs = scored(answers, padding=int(self._tokenizer.pad_token_id))
            scores = self.model(**send_to_device(inputs, self.model.device)).logits
            found += scores[:, 0].float().tolist()
        return found


def read_answer(tokenizer: PreTrainedTokenizerBase, chat: Sequence[Turn]) -> EncodedAnswer:
    """Encodes a chat whose last turn is the assistant's answer."""
    read = encode(tokenizer, chat)
    plain = [
        turn.model_copy(update={"content": ""}) if turn.role == "user" else turn for turn in chat
    ]
    spoken = reversed(read["labels"])
    words = next(place for place, label in enumerate(spoken) if label == NO_LOSS)
    return EncodedAnswer(read["input_ids"], encode(tokenizer, plain)["input_ids"], words)


def scored(answers: Sequence[EncodedAnswer], *, padding: int) -> dict[str, Any]:
    """Returns the input of a model of `score_packs` for some answers, as one pack."""
    words = [answer.words for answer in answers]
    plain = _pack([answer.plain for answer in answers], words, padding)
    return {**_pack([answer.tokens for answer in answers], words, padding), "pack_plain": plain}


def _pack(
    rows: Sequence[Sequence[int]], words: Sequence[int], padding: int
) -> dict[str, torch.Tensor | int]:
    """Returns a pack of rows, each of which ends in the given number of answer tokens.

    `pack_ends` has the position of each row's last token. `pack_words`, of shape (3, n), has for each
    answer token the position before it, the token, and the number of its row.
    """
    shared = common(rows, min(map(len, rows)) - 1)
    rest = max(map(len, rows)) - shared
    ends = [number * rest + len(row) - 1 for number, row in enumerate(rows)]
    found = [
        (place if place < shared else number * rest + place, row[place + 1], number)
        for number, (row, count) in enumerate(zip(rows, words, strict=True))
        for place in range(len(row) - count - 1, len(row) - 1)
    ]
    return {
        **lay_out(rows, shared=shared, padding=padding),
        "pack_ends": torch.tensor(ends),
        "pack_words": torch.tensor(found).T,
    }


def score_packs(model: PreTrainedModel, *, mutual_information: float) -> PreTrainedModel:
    """Makes a scoring model read packs and score each of their rows.

    Args:
        model: A model with a scoring head and a `word_head` (`load_model`).
        mutual_information: Weight of the mutual information of prompt and answer; at 0 it is not
            computed.

    Returns:
        The same model. Its forward pass takes what `scored` returns, and returns logits of shape
        (rows, 1), float32.

    Raises:
        TrainingError: The logits of the model are not plainly a product with the hidden states.
    """
    attributes: Any = model
    if mutual_information == 0:
        attributes.word_head = None
    elif attributes.word_head is None:
        raise TrainingError(
            "the logits of this model have a bias or are scaled, which reward models do not support: "
            "set mutual_information to 0"
        )
    take_packs(model)
    attributes.mutual_information = mutual_information
    model.forward = MethodType(_score, model)
    return model


def _score(
    self: Any,  # noqa: ANN401 - a scoring model of any kind
    *,
    pack_ends: torch.Tensor,
    pack_words: torch.Tensor,
    pack_plain: dict[str, Any],
    **inputs: Any,  # noqa: ANN401 - further arguments of PEFT
) -> SequenceClassifierOutput:
    hidden = _hidden(self, inputs)
    scores = self.score(hidden[pack_ends])
    if self.mutual_information:
        plain = {**pack_plain}
        words = plain.pop("pack_words")
        del plain["pack_ends"]
        information = _likelihood(self, hidden, pack_words) - _likelihood(
            self, _hidden(self, plain), words
        )
        scores = scores + self.mutual_information * information[:, None]
    return SequenceClassifierOutput(logits=scores)


def _hidden(model: Any, inputs: dict[str, Any]) -> torch.Tensor:  # noqa: ANN401 - a scoring model of any kind
    given = {name: value for name, value in inputs.items() if value is not None}
    body = getattr(model, model.base_model_prefix)
    hidden: torch.Tensor = body(**{**given, "use_cache": False}).last_hidden_state[0]
    return hidden


def _likelihood(
    model: Any,  # noqa: ANN401 - a scoring model of any kind
    hidden: torch.Tensor,
    words: torch.Tensor,
) -> torch.Tensor:
    """Returns the mean log-likelihood of the answer's tokens of each row, float32, (rows,).

    The logit of the token itself is computed in float32: in bfloat16 its rounding would exceed the
    differences of interest. In the sum over the vocabulary, rounding averages out.
    """
    positions, tokens, rows = words
    read = hidden[positions]
    own = (read.float() * model.word_head[tokens].float()).sum(dim=-1)
    each = own - torch.nn.functional.linear(read, model.word_head).float().logsumexp(dim=-1)
    # Deterministic sums, which those of index_add on a GPU are not.
    members = torch.nn.functional.one_hot(rows).T.float()
    means: torch.Tensor = (members * each).sum(dim=-1) / members.sum(dim=-1)
    return means


def load_reward_model(model: Path, adapter: Path, dtype: torch.dtype) -> PreTrainedModel:
    """Returns a reward model with its adapter merged and its head.

    Raises:
        TrainingError: The adapter is not a reward model, or is for another base.
    """
    if read_adapter(adapter).job != "reward":
        raise TrainingError(f"{adapter} is not a reward model; train one with reclm-train reward")
    check_base(adapter, model)
    *parents, last = chain(adapter)
    body = load_model(model, parents, dtype=torch.float32, scoring=True)
    scorer: Any = PeftModel.from_pretrained(body, str(last)).merge_and_unload()
    result: PreTrainedModel = scorer.to(dtype).eval()
    scorer.score.float()
    return result


def load_reward_scorer(
    model: Path, adapter: Path, tokenizer: PreTrainedTokenizerBase, *, dtype: torch.dtype
) -> ModelReward:
    """Returns a reward model that scores answers.

    Raises:
        TrainingError: As `load_reward_model` does.
    """
    scorer = load_reward_model(model, adapter, dtype)
    weight = float(read_adapter(adapter).config.get("mutual_information", 0))
    return ModelReward(score_packs(scorer, mutual_information=weight), tokenizer)
