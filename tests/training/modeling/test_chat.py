from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.training import tiny
from training.data.rows import DialogueRow, Turn
from training.errors import TrainingError
from training.modeling.chat import NO_LOSS, encode, encode_all, set_padding
from training.modeling.lora import load_tokenizer

if TYPE_CHECKING:
    from pathlib import Path


def test_loss_lies_on_every_word_of_both_answers_and_on_none_of_a_prompt(tiny_model: Path) -> None:
    tokenizer = load_tokenizer(tiny_model)
    for document in tiny.dialogue_rows(6):
        row = DialogueRow.model_validate(document)
        encoded = encode(tokenizer, row.messages)
        learnt = [label for label in encoded["labels"] if label != NO_LOSS]
        answers = [turn.content for turn in row.messages if turn.role == "assistant"]
        assert len(answers) == 2
        assert tokenizer.decode(learnt) == "".join(f"{answer}<|im_end|>" for answer in answers)
        prompt = [
            token
            for token, label in zip(encoded["input_ids"], encoded["labels"], strict=True)
            if label == NO_LOSS
        ]
        text = tokenizer.decode(prompt)
        assert all(answer not in text for answer in answers if len(answer) > 3)
        assert text.count("<|im_start|>assistant\n") == 2


def test_a_chat_is_tokenised_as_the_server_tokenises_its_prompt(tiny_model: Path) -> None:
    tokenizer = load_tokenizer(tiny_model)
    turns = DialogueRow.model_validate(tiny.dialogue_rows(1)[0]).messages
    whole = tokenizer.apply_chat_template(
        [turn.model_dump() for turn in turns], tokenize=True, return_dict=False
    )
    encoded = encode(tokenizer, turns)["input_ids"]
    assert encoded == whole[: len(encoded)]
    assert tokenizer.decode(whole[len(encoded) :]) == "\n"


def test_long_rows_are_left_out_and_counted(tiny_model: Path) -> None:
    tokenizer = load_tokenizer(tiny_model)
    short = (Turn(role="user", content="a"), Turn(role="assistant", content="b"))
    long = (Turn(role="user", content="a " * 300), Turn(role="assistant", content="b"))
    encoded = encode_all(tokenizer, [short, long, short], max_length=100)
    assert (len(encoded.rows), encoded.too_long) == (2, 1)
    with pytest.raises(TrainingError, match="all 1 rows are longer than max_length, 100 tokens"):
        encode_all(tokenizer, [long], max_length=100)


def test_a_chat_without_an_answer_is_refused(tiny_model: Path) -> None:
    tokenizer = load_tokenizer(tiny_model)
    with pytest.raises(TrainingError, match="cannot be trained on"):
        encode(tokenizer, [Turn(role="user", content="a")])


def test_a_template_that_hides_answers_is_refused(tiny_model: Path) -> None:
    tokenizer = load_tokenizer(tiny_model)
    tokenizer.chat_template = "{% for message in messages %}{{ message['role'] }};{% endfor %}"
    turns = [Turn(role="user", content="a"), Turn(role="assistant", content="b")]
    with pytest.raises(TrainingError, match="cannot find where its answers begin"):
        encode(tokenizer, turns)


def test_padding_is_a_token_that_ends_no_turn(tiny_model: Path) -> None:
    tokenizer = load_tokenizer(tiny_model)
    assert tokenizer.pad_token_id not in (tokenizer.eos_token_id, tokenizer.bos_token_id)
    tokenizer.pad_token = tokenizer.eos_token
    set_padding(tokenizer)
    assert tokenizer.pad_token != tokenizer.eos_token
