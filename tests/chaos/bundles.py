"""Two scorer bundles whose scores tell which of them an answer is from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from services.common.manifests import content_hash
from tests.support.bundles import little

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.chaos.documents import BundleScores

SHIFTS = {"chaos-first": 100.0, "chaos-second": 200.0}
"""What is added to every score, by the name of the bundle."""

_KNOWN = np.array([1, 0.5], np.float32)
_SEEN = "a"


def write(folder: Path, *, encoder: Path, known: Sequence[str]) -> dict[str, BundleScores]:
    """Writes the bundles.

    Args:
        folder: Where to.
        encoder: The folder of the service's encoder.
        known: Ids of the users that training knew; all of them had seen the first item.

    Returns:
        The scores of each bundle.
    """
    component = {"name": encoder.name, "hash": content_hash(encoder, "model.onnx")}
    scores: dict[str, BundleScores] = {}
    for name, shift in SHIFTS.items():
        made = little(shift=shift, encoder=component)
        made.user_ids = list(known)
        made.arrays["user_vectors"] = np.tile(_KNOWN, (len(known), 1))
        made.arrays["seen_indptr"] = np.arange(len(known) + 1, dtype=np.int64)
        made.arrays["seen_indices"] = np.zeros(len(known), np.int32)
        assert made.profile_weight is not None
        made.profile_weight[:] = 0  # so that a score depends on the bundle alone
        made.write(folder, name)
        bias = dict(zip(made.item_ids, made.arrays["item_bias"].tolist(), strict=True))
        learned = dict(
            zip(made.item_ids, (made.arrays["item_vectors"] @ _KNOWN).tolist(), strict=True)
        )
        trained = {item: bias[item] + learned[item] for item in bias if item != _SEEN}
        scores[name] = {"nothing": bias, "profile": bias, "training": trained}
    return scores
