"""Chats as tokens, with labels on the assistant's turns alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from training.data.rows import Turn
from training.errors import TrainingError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from transformers import PreTrainedTokenizerBase

    from training.data.rows import Role

NO_LOSS = -100
_ROLES: tuple[Role, ...] = ("system", "user", "assistant")


@dataclass(frozen=True, slots=True)
class Encoded:
    """Rows as tokens.

    Attributes:
        rows: `input_ids` and `labels` of each row.
        instructions: The system turn of each row; empty where there is none.
        too_long: Number of rows left out as too long.
    """

    rows: list[dict[str, list[int]]]
    instructions: list[str]
    too_long: int


def _render(
    tokenizer: PreTrainedTokenizerBase, turns: Sequence[Turn], *, opening: bool = False
) -> str:
    """Returns a chat in the model's template; `opening` adds the beginning of an assistant turn."""
    plain = [{"role": turn.role, "content": turn.content} for turn in turns]
    return str(tokenizer.apply_chat_template(plain, add_generation_prompt=opening, tokenize=False))


def prompt_text(tokenizer: PreTrainedTokenizerBase, turns: Sequence[Turn]) -> str:
    """Returns a chat in the model's template, up to the beginning of the assistant's answer."""
    return _render(tokenizer, turns, opening=True)


def token_ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Returns the tokens of a text that contains its special tokens."""
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


def encode(tokenizer: PreTrainedTokenizerBase, turns: Sequence[Turn]) -> dict[str, list[int]]:
    """Returns `input_ids` and `labels` of a chat.

    Labels are the token ids of each assistant turn and of the token that ends it, and NO_LOSS
    elsewhere. A prompt is tokenised separately from its answer, as in serving.

    Raises:
        TrainingError: The chat template does not render an assistant turn as the continuation of its
            prompt, or the chat has no assistant turn.
    """
    ids: list[int] = []
    labels: list[int] = []
    done = ""
    for number, turn in enumerate(turns):
        if turn.role != "assistant":
            continue
        before = prompt_text(tokenizer, turns[:number])
        after = _render(tokenizer, turns[: number + 1])
        said, end, _ = after[len(before) :].partition(str(tokenizer.eos_token))
        sound = before.startswith(done) and after.startswith(before)
        if not sound or not end or turn.content.strip() != said.strip():
            raise TrainingError(
                "the chat template of this model changes earlier turns or does not end a turn with "
                f"{tokenizer.eos_token!r}; RecLM cannot find where its answers begin"
            )
        prompt, spoken = token_ids(tokenizer, before[len(done) :]), token_ids(tokenizer, said + end)
        ids += prompt + spoken
        labels += [NO_LOSS] * len(prompt) + spoken
        done = before + said + end
    if not ids:
        raise TrainingError("a chat without an assistant turn cannot be trained on")
    return {"input_ids": ids, "labels": labels}


def encode_all(
    tokenizer: PreTrainedTokenizerBase, chats: Iterable[Sequence[Turn]], *, max_length: int
) -> Encoded:
    """Encodes chats; those of more than `max_length` tokens are left out.

    Raises:
        TrainingError: All are too long, or as `encode` does.
    """
    rows, instructions, too_long = [], [], 0
    for turns in chats:
        row = encode(tokenizer, turns)
        if len(row["input_ids"]) > max_length:
            too_long += 1
            continue
        rows.append(row)
        instructions.append(turns[0].content if turns[0].role == "system" else "")
    if not rows:
        raise TrainingError(
            f"all {too_long:,} rows are longer than max_length, {max_length} tokens"
        )
    return Encoded(rows, instructions, too_long)


def set_padding(tokenizer: PreTrainedTokenizerBase) -> None:
    """Sets the padding token to one that no chat contains.

    Many chat models pad with the token that ends a turn. TRL's PPO treats every such token as padding
    and would mask the ends of the prompt's turns.

    Raises:
        TrainingError: The chats use every special token of the model.
    """
    chat = _render(tokenizer, [Turn(role=role, content="x") for role in _ROLES])
    used = {*token_ids(tokenizer, chat), tokenizer.eos_token_id}
    for token in (tokenizer.pad_token, tokenizer.unk_token, *tokenizer.all_special_tokens):
        if token is not None and tokenizer.convert_tokens_to_ids(token) not in used:
            tokenizer.pad_token = token
            return
    raise TrainingError("the tokenizer has no special token for padding that its chats do not use")
