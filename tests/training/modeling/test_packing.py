from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch.nn.functional import cross_entropy

from tests.training import tiny
from training.data.rows import DialogueRow, ProfileRow
from training.errors import TrainingError
from training.modeling.chat import NO_LOSS, Encoded, encode_all
from training.modeling.lora import add_adapter, load_model, load_tokenizer
from training.modeling.packing import Collator, pack, take_packs

if TYPE_CHECKING:
    from pathlib import Path

    from training.modeling.packing import EncodedRow


@pytest.fixture
def encoded(tiny_model: Path) -> Encoded:
    """Profiles and conversations, of two instructions, with one answer and with two."""
    profiles = [ProfileRow.model_validate(row) for row in tiny.distill_rows(9)]
    dialogues = [DialogueRow.model_validate(row) for row in tiny.dialogue_rows(8)]
    chats = [(*row.prompt, *row.completion) for row in profiles]
    for row in dialogues:
        system = row.messages[0].model_copy(update={"content": "You answer in few words."})
        chats.append((system, *row.messages[1:]))
    return encode_all(load_tokenizer(tiny_model), chats, max_length=512)


def test_losses_and_gradients_are_those_of_the_rows_one_by_one(
    tiny_model: Path, encoded: Encoded
) -> None:
    alone, packed = _model(tiny_model), _model(tiny_model)
    take_packs(packed.base_model.model)
    packs = pack(encoded, tokens=640, seed=0)
    assert max(len(one["input_ids"]) for one in packs) > 2, "else nothing is shared"
    for one in packs:
        inputs = Collator(0)([one])
        labels = inputs.pop("labels")[0]
        _loss(packed(**inputs, use_cache=False).logits[0], labels).backward()
    for row in encoded.rows:
        logits = alone(input_ids=torch.tensor([row["input_ids"]]), use_cache=False).logits[0]
        _loss(logits, torch.tensor(row["labels"])).backward()
    found, wanted = (_gradients(model) for model in (packed, alone))
    assert wanted.norm() > 1
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)


def test_every_row_is_in_one_pack_and_no_pack_is_longer_than_allowed(encoded: Encoded) -> None:
    packs = pack(encoded, tokens=512, seed=0)
    inputs = [Collator(0)([one]) for one in packs]
    assert max(one["input_ids"].shape[1] for one in inputs) <= 512
    assert sorted(_rows(packs)) == sorted(_whole(row) for row in encoded.rows)
    assert pack(encoded, tokens=512, seed=0) == packs


def test_no_answer_begins_in_what_is_shared() -> None:
    prompt, answer = [5, 6, 7], [8, 9, 2]
    same: EncodedRow = {"input_ids": prompt + answer, "labels": [NO_LOSS] * 3 + answer}
    (one,) = pack(Encoded([same, same], ["", ""], 0), tokens=64, seed=0)
    assert one["shared"] == 2
    assert Collator(0)([one])["input_ids"].tolist() == [[5, 6, 7, 8, 9, 2, 7, 8, 9, 2]]


def test_rows_may_have_nothing_in_common(tiny_model: Path) -> None:
    rows: list[EncodedRow] = [
        {"input_ids": [first, 11, 12, 2], "labels": [NO_LOSS, NO_LOSS, 12, 2]} for first in (5, 6)
    ]
    (one,) = pack(Encoded(rows, ["", ""], 0), tokens=64, seed=0)
    assert one["shared"] == 0
    model = _model(tiny_model)
    take_packs(model.base_model.model)
    inputs = Collator(0)([one])
    inputs.pop("labels")
    with torch.no_grad():
        found = model(**inputs, use_cache=False).logits[0]
        wanted = [
            _model(tiny_model)(input_ids=torch.tensor([ids])).logits[0] for ids in one["input_ids"]
        ]
    torch.testing.assert_close(found, torch.cat(wanted), atol=1e-5, rtol=1e-5)


def test_instructions_of_few_rows_go_together() -> None:
    rows: list[EncodedRow] = [
        {"input_ids": [1, 2, name, 8, 9], "labels": [NO_LOSS] * 4 + [9]} for name in range(3, 7)
    ]
    (one,) = pack(Encoded(rows, ["a", "b", "c", "d"], 0), tokens=64, seed=0)
    assert (one["shared"], len(one["input_ids"])) == (2, 4)


def test_a_model_that_attends_otherwise_is_refused(tiny_model: Path, encoded: Encoded) -> None:
    model = _model(tiny_model)
    take_packs(model.base_model.model)
    inputs = Collator(0)(pack(encoded, tokens=512, seed=0)[:1])
    with pytest.raises(TrainingError, match="uses sliding_window, which packs do not support"):
        model(**inputs, sliding_window=128, use_cache=False)


def _model(folder: Path) -> Any:
    """Returns a model with an adapter that is not zero and the same in each call."""
    torch.manual_seed(0)
    model = add_adapter(load_model(folder, dtype=torch.float32), tiny.LORA)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            weight.data.normal_(0, 0.1)
    return model


def _loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return cross_entropy(logits[:-1], labels[1:], ignore_index=NO_LOSS, reduction="sum")


def _gradients(model: torch.nn.Module) -> torch.Tensor:
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def _rows(packs: list[dict[str, Any]]) -> list[tuple[list[int], list[int]]]:
    return [
        (ids, labels)
        for one in packs
        for ids, labels in zip(one["input_ids"], one["labels"], strict=True)
    ]


def _whole(row: EncodedRow) -> tuple[list[int], list[int]]:
    return row["input_ids"], row["labels"]
