from __future__ import annotations

from math import exp, log

import pytest
import torch

from recommenders import losses
from recommenders.losses import bce, bpr, info_nce, sampled_info_nce


def test_bpr_by_hand() -> None:
    loss = bpr(torch.tensor([2.0, 0.0]), torch.tensor([1.0, 0.0]))
    assert loss.item() == pytest.approx((log(1 + exp(-1)) + log(2)) / 2)


def test_bce_by_hand() -> None:
    loss = bce(torch.tensor([1.0]), torch.tensor([-2.0]))
    assert loss.item() == pytest.approx(log(1 + exp(-1)) + log(1 + exp(-2)))


def test_several_negatives_are_summed_by_bce_and_averaged_by_bpr() -> None:
    positive, negative = torch.tensor([1.0, 0.0]), torch.tensor([[-2.0, 0.0], [0.0, 0.0]])
    first = log(1 + exp(-1)) + log(1 + exp(-2)) + log(2)
    assert bce(positive, negative).item() == pytest.approx((first + 3 * log(2)) / 2)
    pairs = log(1 + exp(-3)) + log(1 + exp(-1)) + 2 * log(2)
    assert bpr(positive[:, None], negative).item() == pytest.approx(pairs / 4)


def test_info_nce_by_hand() -> None:
    # Cosines of the anchor: 1 with its target, 0 and -1 with the others; lengths do not matter.
    anchors = torch.tensor([[2.0, 0.0]])
    candidates = torch.tensor([[0.0, 5.0], [3.0, 0.0], [-1.0, 0.0]])
    loss = info_nce(anchors, candidates, torch.tensor([1]), temperature=0.5)
    assert loss.item() == pytest.approx(log(exp(2) + exp(0) + exp(-2)) - 2)


def test_sampled_info_nce_by_hand() -> None:
    loss = sampled_info_nce(torch.tensor([0.5]), torch.tensor([[0.0, -0.5]]), temperature=0.5)
    assert loss.item() == pytest.approx(log(exp(1) + exp(0) + exp(-1)) - 1)


def test_an_excluded_negative_does_not_count() -> None:
    positive, negative = torch.tensor([0.5, 0.5]), torch.tensor([[0.0, 0.9], [0.0, -0.5]])
    excluded = torch.tensor([[False, True], [False, False]])
    negative.requires_grad_()
    loss = sampled_info_nce(positive, negative, temperature=0.5, excluded=excluded)
    first, second = log(exp(1) + exp(0)) - 1, log(exp(1) + exp(0) + exp(-1)) - 1
    assert loss.item() == pytest.approx((first + second) / 2)
    loss.backward()
    assert negative.grad is not None
    assert negative.grad[0, 1] == 0
    assert negative.grad.isfinite().all()


def test_weights_say_how_often_an_anchor_counts() -> None:
    rng = torch.Generator().manual_seed(0)
    anchors, candidates = torch.randn(3, 4, generator=rng), torch.randn(5, 4, generator=rng)
    targets = torch.tensor([4, 0, 2])
    repeats = torch.tensor([0, 2, 2, 1, 2])
    expected = info_nce(anchors[repeats], candidates, targets[repeats], temperature=0.2)
    weighted = info_nce(
        anchors, candidates, targets, temperature=0.2, weights=torch.tensor([1, 1, 3])
    )
    torch.testing.assert_close(weighted, expected)


@pytest.mark.parametrize("temperature", [0.01, 0.1])  # with a shift, and without one
@pytest.mark.parametrize("chunk", [1, 14, 2**20])
def test_info_nce_has_the_gradient_of_cross_entropy(
    chunk: int, temperature: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(losses, "_CHUNK", chunk)
    rng = torch.Generator().manual_seed(0)
    targets, weights = torch.tensor([1, 1, 6, 0, 3]), torch.tensor([1.0, 2, 1, 3, 1])
    made = [torch.randn(rows, 4, dtype=torch.double, generator=rng) for rows in (5, 7)]
    ours = [tensor.clone().requires_grad_() for tensor in made]
    loss = info_nce(*ours, targets, temperature=temperature, weights=weights)
    (3 * loss).backward()
    theirs = [tensor.clone().requires_grad_() for tensor in made]
    unit = [torch.nn.functional.normalize(tensor) for tensor in theirs]
    logits = unit[0] @ unit[1].T / temperature
    rows = torch.nn.functional.cross_entropy(logits, targets, reduction="none")
    plain = (rows * weights).sum() / weights.sum()
    (3 * plain).backward()
    torch.testing.assert_close(loss, plain)
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine.grad, other.grad)


def test_losses_of_huge_scores_are_finite_and_so_are_their_gradients() -> None:
    for loss in (bpr, bce):
        good, bad = torch.tensor([1e4], requires_grad=True), torch.tensor([-1e4])
        assert loss(good, bad).item() == 0
        wrong = loss(bad, good)
        wrong.backward()
        assert wrong.item() >= 1e4
        assert torch.isfinite(good.grad).all()
    anchors = torch.eye(3, requires_grad=True)
    far = info_nce(anchors, -torch.eye(3), torch.arange(3), temperature=1e-3)
    far.backward()
    assert far.item() == pytest.approx(1000 + log(2), rel=1e-5)
    assert torch.isfinite(anchors.grad).all()
    near = info_nce(anchors, torch.eye(3), torch.arange(3), temperature=1e-3)
    assert near.item() == 0


def test_opposite_vectors_at_the_edge_of_the_shift_keep_their_loss_and_gradient() -> None:
    for temperature in (1 / 40.001, 1 / 39.999):  # with a shift, and without one
        anchors = torch.eye(2, requires_grad=True)
        loss = info_nce(anchors, -torch.eye(2), torch.arange(2), temperature=temperature)
        loss.backward()
        assert loss.item() == pytest.approx(1 / temperature, rel=1e-5)
        assert anchors.grad[0, 1].item() == pytest.approx(-0.5 / temperature, rel=1e-5)
