from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from training.modeling.arithmetic import WideArithmetic
from training.modeling.lora import load_model

if TYPE_CHECKING:
    from pathlib import Path

IDS = torch.tensor([[5, 17, 3, 40, 8, 2]])


def test_a_linear_layer_loses_nothing_that_cancels() -> None:
    row = torch.tensor([1e8, 1.0, -1e8])
    product = torch.nn.Linear(3, 1, bias=True)
    with torch.no_grad():
        product.weight.copy_(torch.ones(1, 3))
        product.bias.fill_(0.5)
    assert product(row).item() != 1.5
    with WideArithmetic():
        widely = product(row)
    assert (widely.item(), widely.dtype) == (1.5, torch.float64)


def test_a_norm_does_not_narrow_what_it_is_given() -> None:
    row = torch.linspace(-3, 5, 64, dtype=torch.float64)
    norm = LlamaRMSNorm(64, eps=1e-6)
    wanted = row / (row.square().mean() + 1e-6).sqrt()
    assert (norm(row) - wanted).abs().max() > 1e-9
    with WideArithmetic():
        assert (norm(row) - wanted).abs().max() < 1e-14
        assert row.to(torch.bfloat16).dtype == torch.bfloat16
        assert torch.ones(2, dtype=torch.float32).to(torch.float32).dtype == torch.float32


@torch.no_grad()
def test_a_whole_model_computes_in_float64_and_keeps_its_parameters(tiny_model: Path) -> None:
    model = load_model(tiny_model, dtype=torch.float32)
    plain = model(input_ids=IDS).logits
    with WideArithmetic():
        widely = model(input_ids=IDS).logits
        for parameter in model.parameters():  # and not buffers: angles are float32 in both
            parameter.data = parameter.data.double()
        again = model(input_ids=IDS).logits
    assert (plain.dtype, widely.dtype) == (torch.float32, torch.float64)
    assert 0 < (plain - widely).abs().max() < 1e-4
    assert torch.equal(widely, again)
