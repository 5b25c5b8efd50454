from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING

import numpy as np

from recommenders.data.audit.leakage import PartLeaks, find_leaks
from recommenders.data.indexed import Indexed
from recommenders.data.split import Scenario, Split
from recommenders.data.splits import parse
from tests.recommenders.data.tiny import dataset

if TYPE_CHECKING:
    from scipy import sparse

    from recommenders.data.dataset import Dataset

NO_TEXT = np.full(99, -1)


def leaks(data: Dataset, split: Split, groups: np.ndarray = NO_TEXT) -> dict[str, PartLeaks]:
    indexed = Indexed.of(data)
    found = find_leaks(split, indexed, groups[: indexed.shape[1]])
    return {f"{part.scenario}/{part.part}": part for part in found}


def published(rows: list[tuple[str, str, str]]) -> tuple[Dataset, Split]:
    data = dataset([(user, item, 0) for user, item, _ in rows], parts=[part for *_, part in rows])
    return data, parse({"kind": "published", "known": 1}).divide(data)


def test_our_own_splits_leak_nothing() -> None:
    data = dataset([(f"u{u}", f"i{i}", u * (i + 3) % 31) for u in range(40) for i in range(30)])
    for kind in ("random", "leave-last-out", "cold-items", "cold-users", "combined"):
        for part in leaks(data, parse(kind).divide(data)).values():
            assert part.reasons() == []
            assert part.relevant > 0


def test_a_pair_in_training_and_in_test_is_found() -> None:
    data, split = published(
        [
            *[("u", "a", "train"), ("u", "b", "train"), ("v", "c", "train"), ("v", "d", "train")],
            *[("u", "d", "warm/validation"), ("v", "b", "warm/validation")],
            *[("u", "b", "warm/test"), ("u", "c", "warm/test"), ("u", "d", "warm/test")],
        ]
    )
    found = leaks(data, split)
    assert found["warm/validation"].reasons() == []
    assert found["warm/test"].reasons() == [
        "1 of 3 interactions of warm/test are in training histories",
        "1 of 3 interactions of warm/test are in validation too",
    ]


def test_known_items_of_a_new_user_are_no_leak_and_relevant_ones_would_be() -> None:
    rows = [
        *[("u", "a", "train"), ("u", "b", "train"), ("u", "c", "warm/test")],
        *[("new", "a", "warm/validation"), ("new", "b", "warm/test")],
        *[("p", item, "cold-users/test") for item in "ab"],
        *[("q", item, "cold-users/validation") for item in "ab"],
    ]
    data, split = published(rows)
    assert not any(part.reasons() for part in leaks(data, split).values())
    trusting = Trusting(**{each.name: getattr(split, each.name) for each in fields(Split)})
    assert leaks(data, trusting)["warm/validation"].reasons() == [
        "1 of 1 interactions of warm/validation are in training histories"
    ]


class Trusting(Split):
    """Makes all known pairs of all parts readable."""

    def readable(self) -> sparse.csr_array:
        return self.scenarios["warm"].test.known


def test_a_history_with_rows_beside_the_training_part_is_found() -> None:
    data = dataset([(f"u{u}", f"i{i}", u + i) for u in range(20) for i in range(20)])
    split = parse("random").divide(data)
    everything = replace(split, train_rows=np.arange(400))
    part = leaks(data, everything)["warm/test"]
    assert part.in_training == part.relevant > 0


def test_cold_items_and_cold_users_that_training_knows_are_found() -> None:
    data, split = published(
        [
            *[("u", "a", "train"), ("u", "x", "train"), ("v", "b", "train"), ("p", "a", "train")],
            *[("v", "x", "cold-items/test"), ("v", "y", "cold-items/test")],
            *[("u", "z", "cold-items/validation")],
            *[("p", "b", "cold-users/test"), ("p", "u", "cold-users/test")],
            *[("q", "b", "cold-users/validation"), ("q", "a", "cold-users/validation")],
        ]
    )
    found = leaks(data, split)
    assert found["cold-items/test"].reasons() == ["1 cold items of cold-items/test are in training"]
    assert found["cold-items/validation"].reasons() == []
    assert found["cold-users/test"].reasons() == ["1 cold users of cold-users/test are in training"]
    assert found["cold-users/validation"].reasons() == []


def test_what_is_known_or_not_ranked_is_never_found() -> None:
    data = dataset([(f"u{u}", f"i{i:02}", u + i) for u in range(20) for i in range(20)])
    split = parse("cold-users").divide(data)
    test = split.scenarios["cold-users"].test
    wrong = replace(
        test,
        known=test.known.maximum(test.relevant),
        candidates=np.setdiff1d(np.arange(20), [7]),
    )
    scenario = Scenario(validation=split.scenarios["cold-users"].validation, test=wrong)
    part = leaks(data, replace(split, scenarios={"cold-users": scenario}))["cold-users/test"]
    assert part.known == part.relevant == test.relevant.nnz
    assert part.not_ranked == int((test.relevant.indices == 7).sum()) > 0
    assert len(part.reasons()) == 2


def test_a_cold_item_with_the_text_of_a_trained_one_is_a_hint_and_no_reason() -> None:
    data, split = published(
        [
            *[("u", "a", "train"), ("u", "b", "train")],
            *[("u", "x", "cold-items/test"), ("u", "y", "cold-items/test")],
            *[("u", "z", "cold-items/validation")],
        ]
    )
    groups = np.array([0, -1, 0, 1, -1])  # x has a's text; b and z have none
    found = leaks(data, split, groups)
    assert found["cold-items/test"].twins == 1
    assert found["cold-items/validation"].twins == 0
    assert found["cold-items/test"].reasons() == []
