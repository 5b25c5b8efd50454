from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from recommenders.models.registry import build
from tests.recommenders.models.worlds import world

if TYPE_CHECKING:
    from recommenders.models.lightgcn import LightGCN


@pytest.mark.parametrize(("items", "spread"), [("features", False), ("both", False), ("ids", True)])
def test_items_with_features_are_ranked_by_what_new_ones_have_too(
    items: str, *, spread: bool
) -> None:
    inputs = world(blocks=3, cold_items=1, cold_users=0).inputs
    model: LightGCN = build("lightgcn", inputs, {"items": items}, np.random.default_rng(0))  # type: ignore[assignment]
    first_users, first_items = model.fusion.users(), model.fusion.items()
    users, ranked = model.spread(first_users, first_items)
    assert not torch.equal(users, first_users)
    assert torch.equal(ranked, first_items) is not spread
