"""Packs: rows that begin alike go through the model together, and what they begin with goes once.

Rows of one instruction share its tokens, half of a row or more. A pack is one sequence: the shared
beginning, then the rest of each row, as long as the longest. Each token attends to the beginning
and to the tokens of its own row before it, at the positions that the row would have alone; so losses
and gradients (without dropout) are those of the rows one by one, while the beginning is computed
once, as in Hydragen (arXiv 2402.05099), which does so for decoding. Attention costs what the rows
cost, where one mask over a whole packed sequence costs its square.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

import torch
from transformers import AttentionInterface

from training.errors import TrainingError
from training.modeling.chat import NO_LOSS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transformers import PreTrainedModel

    from training.modeling.chat import Encoded

    EncodedRow = dict[str, list[int]]
    Pack = dict[str, Any]

_NAME = "reclm-pack"
_OTHER_WAYS = ("sliding_window", "softcap", "s_aux", "position_bias")
_OFTEN = 8
"""Instructions of fewer rows go together: they share what even they have in common."""
_ALIKE = 512
"""So many rows, drawn by the seed, are sorted by length at a time: rows of like length waste little
on padding, and more of them sorted would make the packs of every seed the same."""


def pack(encoded: Encoded, *, tokens: int, seed: int) -> list[Pack]:
    """Puts rows of the same instruction into packs.

    Args:
        encoded: Rows, none of more than `tokens`.
        tokens: That a pack is computed over at most, padding included.
        seed: Decides which rows come together.

    Returns:
        `input_ids` and `labels` of the rows of each pack, and `shared`, how many tokens they begin
        with in common. The last pack of an instruction may be a small one.
    """
    pairs = list(zip(encoded.instructions, encoded.rows, strict=True))
    often = Counter(encoded.instructions)
    alike_by: defaultdict[str | None, list[EncodedRow]] = defaultdict(list)
    shuffled = random.Random(seed).sample(pairs, len(pairs))  # noqa: S311 - an order, no secret
    for instruction, row in shuffled:
        alike_by[instruction if often[instruction] >= _OFTEN else None].append(row)
    packs = []
    for alike in alike_by.values():
        for first in range(0, len(alike), _ALIKE):
            some = sorted(alike[first : first + _ALIKE], key=lambda row: len(row["input_ids"]))
            shared = _common(some)
            begun: list[EncodedRow] = []
            for row in some:
                # Sorted: this one is the longest so far, and all of a pack are as long.
                rest = len(row["input_ids"]) - shared
                if begun and shared + (len(begun) + 1) * rest > tokens:
                    packs.append(_packed(begun, shared))
                    begun = []
                begun.append(row)
            packs.append(_packed(begun, shared))
    return packs


def lay_out(rows: Sequence[Sequence[int]], *, shared: int, padding: int) -> dict[str, Any]:
    """Returns the model's input for rows that begin with the same tokens.

    Args:
        rows: Tokens of each.
        shared: How many all begin with; fewer than any has.
        padding: Token that ends the shorter rows.

    Returns:
        `input_ids` and `position_ids`, of shape (1, tokens), and how they divide.
    """
    longest = max(map(len, rows))
    ids, positions = list(rows[0][:shared]), list(range(shared))
    for row in rows:
        ids += [*row[shared:], *[padding] * (longest - len(row))]
        positions += range(shared, longest)
    return {
        "input_ids": torch.tensor([ids]),
        "position_ids": torch.tensor([positions]),
        "pack_shared": shared,
        "pack_rows": len(rows),
    }


class Collator:
    """Makes the model's input of one pack.

    Args:
        padding: Token that ends the shorter rows.
    """

    def __init__(self, padding: int) -> None:
        self._padding = padding

    def __call__(self, packs: Sequence[Pack]) -> dict[str, Any]:
        """Returns what `lay_out` does, and the labels.

        Raises:
            ValueError: These are several packs, whose beginnings differ.
        """
        if len(packs) != 1:
            raise ValueError(f"{len(packs)} packs at a time; a pack is a batch already")
        shared, rows, labels = (packs[0][name] for name in ("shared", "input_ids", "labels"))
        inputs = lay_out(rows, shared=shared, padding=self._padding)
        learnt = lay_out(labels, shared=shared, padding=NO_LOSS)["input_ids"]
        return {**inputs, "labels": learnt}


def answered(labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns where a pack's words are predicted that are learnt, and the words.

    Args:
        labels: Of `Collator`, (1, tokens).

    Returns:
        The places of the tokens before them, and the words, int64, (n,) each.
    """
    learnt = (labels[0, 1:] != NO_LOSS).nonzero()[:, 0]
    return learnt, labels[0, learnt + 1]


def take_packs(model: PreTrainedModel) -> None:
    """Has a model attend as packs need it; it can read nothing else afterwards."""
    AttentionInterface.register(_NAME, _attend)
    model.set_attn_implementation(_NAME)


def _attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    pack_shared: int,
    pack_rows: int,
    scaling: float,
    dropout: float = 0.0,
    **more: object,
) -> tuple[torch.Tensor, None]:
    """Attends within a pack.

    Plain matrix products: on a CPU they take a third of the time of torch's fused kernel, whose
    backward pass is slow on short rows.

    Args:
        module: The layer; unused.
        query: (1, heads, tokens, size), rotated.
        key: (1, groups, tokens, size); `heads` is a multiple of `groups`.
        value: The same.
        attention_mask: None: the pack says who sees whom.
        pack_shared: Tokens of the beginning.
        pack_rows: Rows after it, of equal length.
        scaling: Of the scores.
        dropout: Share of the weights left out.
        more: What else models of this kind attend by.

    Returns:
        (1, tokens, heads, size), and no weights.

    Raises:
        TrainingError: The model attends in a way that is not this one.
    """
    del module, attention_mask
    if other := [name for name in _OTHER_WAYS if more.get(name) is not None]:
        raise TrainingError(
            f"the model attends with {', '.join(other)}, which packs do not know: set packing to false"
        )
    times = query.shape[1] // key.shape[1]
    query = query[0] * scaling
    key, value = (part[0].repeat_interleave(times, dim=0) for part in (key, value))
    heads, tokens, size = query.shape
    length = (tokens - pack_shared) // pack_rows

    def rows(part: torch.Tensor) -> torch.Tensor:
        return part[:, pack_shared:].reshape(heads, pack_rows, length, size)

    begun = _weighted(query[:, :pack_shared], key[:, :pack_shared], value[:, :pack_shared], dropout)
    own = rows(query) @ rows(key).transpose(-1, -2)
    before = query[:, pack_shared:] @ key[:, :pack_shared].transpose(-1, -2)
    before = before.view(heads, pack_rows, length, pack_shared)
    weights = _weights(torch.cat([before, _causal(own)], dim=-1), query.dtype, dropout)
    to_shared, to_own = weights[..., :pack_shared], weights[..., pack_shared:]
    read = to_shared.reshape(heads, pack_rows * length, pack_shared) @ value[:, :pack_shared]
    read = read + (to_own @ rows(value)).reshape(heads, pack_rows * length, size)
    return torch.cat([begun, read], dim=1).transpose(0, 1)[None], None


def _weighted(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, dropout: float
) -> torch.Tensor:
    return _weights(_causal(query @ key.transpose(-1, -2)), query.dtype, dropout) @ value


def _causal(scores: torch.Tensor) -> torch.Tensor:
    length = scores.shape[-1]
    later = torch.ones(length, length, dtype=torch.bool, device=scores.device).triu(1)
    return scores.masked_fill(later, -torch.inf)


def _weights(scores: torch.Tensor, dtype: torch.dtype, dropout: float) -> torch.Tensor:
    weights = torch.softmax(scores, dim=-1, dtype=torch.float32).to(dtype)
    return torch.nn.functional.dropout(weights, dropout) if dropout else weights


def common(rows: Sequence[Sequence[int]], most: int) -> int:
    """Returns how many tokens all rows begin with, up to `most`."""
    first = rows[0]
    at = most
    for row in rows:
        while row[:at] != first[:at]:
            at -= 1
    return max(0, at)


def _packed(rows: Sequence[EncodedRow], shared: int) -> Pack:
    return {
        "shared": shared,
        "input_ids": [row["input_ids"] for row in rows],
        "labels": [row["labels"] for row in rows],
    }


def _common(rows: Sequence[EncodedRow]) -> int:
    """Returns how many tokens rows begin with, but for the last before an answer.

    What an answer begins with is predicted from the token before it, which has to be the row's own.
    """
    before = min(
        next(place for place, label in enumerate(row["labels"]) if label != NO_LOSS) for row in rows
    )
    return common([row["input_ids"] for row in rows], before - 1)
