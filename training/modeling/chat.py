"""Chats as tokens, with the loss where it belongs: on what the assistant says, nowhere else."""

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
        rows: `input_ids` and `labels` of each.
        instructions: The system turn of each; empty where there is none.
        too_long: How many were longer than allowed and left out.
    """

    rows: list[dict[str, list[int]]]
    instructions: list[str]
    too_long: int


def _render(
    tokenizer: PreTrainedTokenizerBase, turns: Sequence[Turn], *, opening: bool = False
) -> str:
    """Returns a chat in the model's template; `opening` adds what the assistant's turn begins with."""
    plain = [{"role": turn.role, "content": turn.content} for turn in turns]
    return str(tokenizer.apply_chat_template(plain, add_generation_prompt=opening, tokenize=False))


def prompt_text(tokenizer: PreTrainedTokenizerBase, turns: Sequence[Turn]) -> str:
    """Returns a chat as the model reads it, up to where the assistant begins to speak."""
    return _render(tokenizer, turns, opening=True)


def token_ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Returns the tokens of a text whose special tokens are written out in it."""
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


def encode(tokenizer: PreTrainedTokenizerBase, turns: Sequence[Turn]) -> dict[str, list[int]]:
    """Returns `input_ids` and `labels` of a chat.

    Labels are the token ids over each assistant turn and the token that ends it, and NO_LOSS over
    all else. What comes before an answer is tokenised apart from it, as in serving.

    Raises:
        TrainingError: The chat template does not show an assistant turn as what follows its
            prompt, or the chat has none.
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
                f"{tokenizer.eos_token!r}; RecLM cannot say where its answers begin"
            )
        prompt, spoken = token_ids(tokenizer, before[len(done) :]), token_ids(tokenizer, said + end)
        ids += prompt + spoken
        labels += [NO_LOSS] * len(prompt) + spoken
        done = before + said + end
    if not ids:
        raise TrainingError("a chat without an assistant turn has nothing to learn")
    return {"input_ids": ids, "labels": labels}


def encode_all(
    tokenizer: PreTrainedTokenizerBase, chats: Iterable[Sequence[Turn]], *, max_length: int
) -> Encoded:
    """Encodes many chats; those of more than `max_length` tokens are left out.

    Raises:
        TrainingError: None is short enough, or as `encode` does.
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
    """Pads with a token that no chat contains.

    Many chat models pad with the token that ends a turn. TRL's PPO takes every padding token for
    padding, and would hide the ends of the prompt's turns.

    Raises:
        TrainingError: Every special token of the model stands in its chats.
    """
    chat = _render(tokenizer, [Turn(role=role, content="x") for role in _ROLES])
    used = {*token_ids(tokenizer, chat), tokenizer.eos_token_id}
    for token in (tokenizer.pad_token, tokenizer.unk_token, *tokenizer.all_special_tokens):
        if token is not None and tokenizer.convert_tokens_to_ids(token) not in used:
            tokenizer.pad_token = token
            return
    raise TrainingError("the tokenizer has no special token to pad with that its chats do not use")
