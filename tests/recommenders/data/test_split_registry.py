"""The contract of all splits in the registry."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

import numpy as np
import pytest

from recommenders.data.errors import DatasetError
from recommenders.data.splits import KINDS, parse
from recommenders.data.splits.plan import Plan
from tests.recommenders.data.tiny import dataset

if TYPE_CHECKING:
    from recommenders.data.dataset import Dataset

USERS, ITEMS = 40, 20


@pytest.fixture(scope="module")
def published() -> Dataset:
    """Users with all items in random order; the column `part` holds back some of them."""
    random = np.random.default_rng(0)
    choices, parts = [], []
    for user in range(USERS):
        for time, item in enumerate(random.permutation(ITEMS).tolist()):
            choices.append((f"u{user}", f"i{item:02}", 100 * user + time))
            cold = item >= ITEMS - 4
            parts.append("cold-items/test" if cold else "warm/test" if time > 15 else "train")
    return dataset(choices, items=[f"i{item:02}" for item in range(ITEMS)], parts=parts)


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_divides_a_dataset_reproducibly(kind: str, published: Dataset) -> None:
    plan = parse(kind)
    assert isinstance(plan, Plan)
    assert plan == parse({"kind": kind})
    split = plan.divide(published)
    assert split.name.startswith(kind)
    assert split.train.nnz > 0
    assert split.scenarios
    for scenario, name, part in split.parts():
        assert part.relevant.nnz > 0, f"{scenario}/{name}"
        assert part.relevant.shape == (USERS, ITEMS)
    assert split.fingerprint() == parse(kind).divide(published).fingerprint()


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_has_a_name_with_its_options_and_refuses_others(kind: str) -> None:
    plan = parse(kind)
    for field in fields(plan):
        if getattr(plan, field.name) is not None:
            assert f"{field.name}={getattr(plan, field.name)}" in plan.name
    with pytest.raises(DatasetError, match=f"split {kind}: unknown option sead"):
        parse({"kind": kind, "sead": 1})


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "seed" in parse(kind).name])
def test_a_seed_decides_what_is_drawn(kind: str, published: Dataset) -> None:
    first, second = (parse({"kind": kind, "seed": seed}).divide(published).train for seed in (1, 2))
    assert (first != second).nnz or kind == "published"
