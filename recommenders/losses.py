"""Loss functions, each a mean over interactions, numerically stable for scores of any size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor

_CHUNK = 2**19
"""Similarities in memory at a time: 2 MiB, which fit into a processor's cache."""
_MILD = 40.0
"""Similarities up to this size need no shift: e^40 is far from overflow in float32."""


def bpr(positive: Tensor, negative: Tensor) -> Tensor:
    """Returns the loss of Bayesian personalised ranking (BPR).

    The mean of -ln sigmoid(positive - negative): Rendle et al., UAI 2009, section 4.1, without
    its regulariser, which is the optimiser's weight decay here.

    Args:
        positive: Scores of items that the users chose, (b,); or (b, 1) beside several negatives.
        negative: Scores of items that they did not choose, (b,); or (b, n).
    """
    return functional.softplus(negative - positive).mean()


def bce(positive: Tensor, negative: Tensor) -> Tensor:
    """Returns binary cross-entropy with scores as logits.

    The mean over positives of -ln sigmoid(positive) - sum ln(1 - sigmoid(negative)): He et al., WWW
    2017, equation 7, over the number of positives.

    Args:
        positive: Scores of items that the users chose, (b,).
        negative: Scores of items that they did not choose, (b,), or several each, (b, n).
    """
    negatives = functional.softplus(negative).reshape(len(positive), -1).sum(dim=1)
    return (functional.softplus(-positive) + negatives).mean()


def info_nce(
    anchors: Tensor,
    candidates: Tensor,
    targets: Tensor,
    *,
    temperature: float,
    weights: Tensor | None = None,
) -> Tensor:
    """Returns InfoNCE by cosine between each anchor and its target among all candidates.

    The mean of -ln(exp(cos(a, c_t) / T) / sum_j exp(cos(a, c_j) / T)): van den Oord et al., 2018,
    equation 4; Wu et al. (SGL), SIGIR 2021, equation 10. The similarities are never all in
    memory: the gradient is computed in the same pass, some rows at a time.

    Args:
        anchors: (a, d).
        candidates: (c, d).
        targets: For each anchor, the row of its target among the candidates, int64, (a,).
        temperature: T, above 0.
        weights: How often each anchor counts, (a,); all alike by default.
    """
    if weights is None:
        weights = anchors.new_ones(len(anchors))
    with torch.autocast(anchors.device.type, enabled=False):
        wide = torch.promote_types(anchors.dtype, torch.float32)
        loss: Tensor = _CrossEntropy.apply(  # type: ignore[no-untyped-call]
            functional.normalize(anchors.to(wide)) / temperature,
            functional.normalize(candidates.to(wide)),
            targets,
            weights.to(wide) / weights.sum(),
            temperature * _MILD < 1,
        )
    return loss


def sampled_info_nce(
    positive: Tensor, negative: Tensor, *, temperature: float, excluded: Tensor | None = None
) -> Tensor:
    """Returns InfoNCE of each positive among some negatives.

    The mean of -ln(exp(p / T) / (exp(p / T) + sum_j exp(n_j / T))): Sheng et al. (AlphaRec), ICLR
    2025, equation 4, with cosines as scores.

    Args:
        positive: (b,).
        negative: (b, n).
        temperature: T, above 0.
        excluded: True where a shared negative is none for this row, bool, (b, n).
    """
    if excluded is not None:
        negative = negative.masked_fill(excluded, -torch.inf)
    logits = torch.cat([positive[:, None], negative], dim=1).float() / temperature
    return (logits.logsumexp(dim=1) - logits[:, 0]).mean()


class _Context(Protocol):
    """What the forward pass saves for the backward pass."""

    saved_tensors: tuple[Tensor, ...]

    def save_for_backward(self, *tensors: Tensor) -> None: ...


class _CrossEntropy(torch.autograd.Function):
    """Weighted cross-entropy of softmax(anchors @ candidates.T) with one target a row."""

    @staticmethod
    def forward(  # noqa: PLR0917 - autograd passes them on by position
        ctx: _Context,
        anchors: Tensor,
        candidates: Tensor,
        targets: Tensor,
        weights: Tensor,
        shift: bool,
    ) -> Tensor:
        chosen = candidates[targets]
        loss = -(weights * (anchors * chosen).sum(dim=1)).sum()
        weighted = anchors * weights[:, None]
        anchor_grad = chosen.mul_(-weights[:, None])
        candidate_grad = torch.zeros_like(candidates).index_add_(0, targets, weighted, alpha=-1)
        rows = max(1, min(_CHUNK // max(1, len(candidates)), len(anchors)))
        held = anchors.new_empty(rows, len(candidates))
        for start in range(0, len(anchors), rows):
            part = slice(start, start + rows)
            exponentials = held[: len(anchors[part])]
            torch.mm(anchors[part], candidates.T, out=exponentials)
            share = weights[part, None]
            if shift:
                most = exponentials.amax(dim=1, keepdim=True)
                exponentials.sub_(most)
                loss += (share * most).sum()
            sums = exponentials.exp_().sum(dim=1, keepdim=True)
            loss += (share * sums.log()).sum()
            scale = share / sums
            anchor_grad[part].addcmul_(exponentials @ candidates, scale)
            candidate_grad.addmm_(exponentials.T, anchors[part] * scale)
        ctx.save_for_backward(anchor_grad, candidate_grad)
        return loss

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: _Context, *grads: Tensor) -> tuple[Tensor | None, ...]:
        anchor_grad, candidate_grad = ctx.saved_tensors
        return anchor_grad * grads[0], candidate_grad * grads[0], None, None, None
