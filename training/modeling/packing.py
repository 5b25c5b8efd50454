"""Packs: rows with a common prefix go through the model together, and the prefix only once.

Rows of one instruction share its tokens, half of a row or more. A pack is one sequence: the shared
prefix, then the rest of each row, padded to the longest. Each token attends to the prefix and to the
earlier tokens of its own row, at the positions that the row would have alone. So losses and gradients
(without dropout) are those of the rows one by one, while the prefix is computed once. Hydragen
(arXiv 2402.05099) does the same for decoding. Attention costs as much as for the rows, where a mask
over the whole packed sequence costs its square.
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
"""Instructions with fewer rows are packed together, with the prefix that they have in common."""
_ALIKE = 512
"""Rows that are sorted by length at a time, drawn by the seed. Rows of similar length need little
padding; with more rows sorted at a time, the packs of all seeds would be the same."""


def pack(encoded: Encoded, *, tokens: int, seed: int) -> list[Pack]:
    """Packs rows of the same instruction.

    Args:
        encoded: Rows, none of more than `tokens`.
        tokens: Most tokens of a pack, padding included.
        seed: Seed of which rows are packed together.

    Returns:
        `input_ids` and `labels` of the rows of each pack, and `shared`, the length of their common
        prefix. The last pack of an instruction may be small.
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
                # Sorted: this row is the longest so far, and all rows of a pack are padded to it.
                rest = len(row["input_ids"]) - shared
                if begun and shared + (len(begun) + 1) * rest > tokens:
                    packs.append(_packed(begun, shared))
                    begun = []
                begun.append(row)
            packs.append(_packed(begun, shared))
    return packs


def lay_out(rows: Sequence[Sequence[int]], *, shared: int, padding: int) -> dict[str, Any]:
    """Returns the model's input for rows with a common prefix.

    Args:
        rows: Tokens of each row.
        shared: Length of the common prefix, less than that of any row.
        padding: Token that the shorter rows are padded with.

    Returns:
        `input_ids` and `position_ids`, of shape (1, tokens), the length of the prefix and the number
        of rows.
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
        padding: Token that the shorter rows are padded with.
    """

    def __init__(self, padding: int) -> None:
        self._padding = padding

    def __call__(self, packs: Sequence[Pack]) -> dict[str, Any]:
        """Returns the model's input, as `lay_out` does, and the labels.

        Raises:
            ValueError: There are several packs, whose prefixes differ.
        """
        if len(packs) != 1:
            raise ValueError(f"{len(packs)} packs at a time; a batch is one pack")
        shared, rows, labels = (packs[0][name] for name in ("shared", "input_ids", "labels"))
        inputs = lay_out(rows, shared=shared, padding=self._padding)
        padded = lay_out(labels, shared=shared, padding=NO_LOSS)["input_ids"]
        return {**inputs, "labels": padded}


def answered(labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the labelled tokens of a pack, and the positions that predict them.

    Args:
        labels: Labels of `Collator`, (1, tokens).

    Returns:
        The positions before the labelled tokens, and these tokens, int64, (n,) each.
    """
    predicting = (labels[0, 1:] != NO_LOSS).nonzero()[:, 0]
    return predicting, labels[0, predicting + 1]


def take_packs(model: PreTrainedModel) -> None:
    """Sets the attention of a model to that of packs; it can read nothing else afterwards."""
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
        query: (1, heads, tokens, size), with rotary positions applied.
        key: (1, groups, tokens, size); `heads` is a multiple of `groups`.
        value: As `key`.
        attention_mask: None; the layout of the pack replaces it.
        pack_shared: Length of the prefix.
        pack_rows: Number of rows after the prefix, of equal length.
        scaling: Factor of the scores.
        dropout: Share of the attention weights that are dropped.
        more: Further arguments that models of some kinds pass.

    Returns:
        (1, tokens, heads, size), and None for the weights.

    Raises:
        TrainingError: The model has another kind of attention.
    """
    del module, attention_mask
    if other := [name for name in _OTHER_WAYS if more.get(name) is not None]:
        raise TrainingError(
            f"the attention of this model uses {', '.join(other)}, which packs do not support: set packing to false"
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
    """Returns the length of the common prefix of rows, up to `most`."""
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
    """Returns the length of the common prefix of rows, without the last token before an answer.

    The first token of an answer is predicted from the token before it, which must be the row's own.
    """
    before = min(
        next(place for place, label in enumerate(row["labels"]) if label != NO_LOSS) for row in rows
    )
    return common([row["input_ids"] for row in rows], before - 1)
