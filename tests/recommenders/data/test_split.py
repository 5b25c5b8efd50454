from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from recommenders.data.split import Part, Scenario, Split


def matrix(rows: list[list[int]]) -> sparse.csr_array:
    return sparse.csr_array(np.asarray(rows, np.float32))


TRAIN = matrix([[1, 0, 0], [0, 1, 0], [1, 0, 0]])
PART = Part(known=TRAIN, relevant=matrix([[0, 0, 1], [0, 0, 0], [0, 1, 0]]))
OTHER = Part(known=TRAIN, relevant=matrix([[0, 1, 0], [0, 0, 0], [0, 0, 1]]))
SPLIT = Split(
    name="by hand",
    train=TRAIN,
    train_rows=np.array([0, 1, 4]),
    scenarios={"warm": Scenario(validation=PART, test=OTHER)},
)


def test_only_users_with_something_to_be_found_are_ranked_for() -> None:
    assert PART.users.tolist() == [0, 2]
    assert PART.users.dtype == np.int64


@pytest.mark.parametrize("rows", [[1, 1], [2, 1], [-1, 1], [1, 3]])
def test_candidates_are_rows_of_items_in_order(rows: list[int]) -> None:
    assert replace(PART, candidates=np.array([0, 2])).candidates is not None
    with pytest.raises(ValueError, match="candidates must be rows of items"):
        replace(PART, candidates=np.array(rows))


def test_known_and_relevant_have_one_shape() -> None:
    with pytest.raises(ValueError, match=r"known is \(3, 3\), but relevant \(1, 3\)"):
        Part(known=TRAIN, relevant=matrix([[0, 0, 1]]))


def test_parts_come_in_order_of_their_names() -> None:
    parts = Scenario(validation=PART, test=OTHER)
    split = replace(SPLIT, scenarios={"warm": parts, "cold-items": parts})
    assert [(scenario, name) for scenario, name, _ in split.parts()] == [
        ("cold-items", "validation"),
        ("cold-items", "test"),
        ("warm", "validation"),
        ("warm", "test"),
    ]


def warm(validation: Part = PART, test: Part = OTHER) -> dict[str, Scenario]:
    return {"warm": Scenario(validation=validation, test=test)}


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "otherwise"},
        {"train": matrix([[1, 0, 0], [0, 1, 0], [0, 1, 0]])},
        {"train_rows": np.array([0, 1, 5])},
        {"scenarios": {"cold-users": SPLIT.scenarios["warm"]}},
        {"scenarios": warm(validation=OTHER, test=PART)},
        {"scenarios": warm(test=replace(OTHER, relevant=matrix([[0, 1, 0], [0, 0, 1], [0] * 3])))},
        {"scenarios": warm(test=replace(OTHER, known=matrix([[1, 0, 0], [0, 1, 0], [0] * 3])))},
        {"scenarios": warm(test=replace(OTHER, candidates=np.array([0, 1, 2])))},
        {"scenarios": warm(test=replace(OTHER, candidates=np.array([], np.int64)))},
    ],
)
def test_whatever_differs_has_another_fingerprint(changes: dict[str, Any]) -> None:
    assert replace(SPLIT, **changes).fingerprint() != SPLIT.fingerprint()


def test_the_fingerprint_is_that_of_the_pairs_not_of_how_they_are_kept() -> None:
    wide = sparse.csr_array(
        (TRAIN.data, TRAIN.indices.astype(np.int64), TRAIN.indptr.astype(np.int64)), (3, 3)
    )
    same = replace(SPLIT, train=wide, train_rows=SPLIT.train_rows.astype(np.int32))
    assert same.fingerprint() == SPLIT.fingerprint()
    shuffled = sparse.csr_array(
        (np.ones(2, np.float32), np.array([2, 0]), np.array([0, 2, 2, 2])), (3, 3)
    )
    ordered = replace(SPLIT, train=shuffled.sorted_indices())
    assert replace(SPLIT, train=shuffled).fingerprint() == ordered.fingerprint()


def test_the_fingerprint_stays_the_same_from_release_to_release() -> None:
    assert SPLIT.fingerprint() == "8489042570187491"


def test_a_part_for_few_users_asks_them_what_it_asked_before() -> None:
    rng = np.random.default_rng(0)
    known = sparse.csr_array((rng.random((40, 9)) < 0.3).astype(np.float32))
    relevant = sparse.csr_array((rng.random((40, 9)) < 0.3).astype(np.float32))
    relevant = relevant - relevant.multiply(known).tocsr()
    relevant.eliminate_zeros()
    part = Part(known=known, relevant=relevant, candidates=np.arange(9))
    few = part.for_few(7)
    assert len(few.users) == 7
    assert set(few.users) < set(part.users)
    assert (few.relevant[few.users] != part.relevant[few.users]).nnz == 0
    assert few.relevant.nnz == part.relevant[few.users].nnz
    assert few.known is part.known
    assert few.candidates is part.candidates
    # A smaller sample is a subset of a larger one.
    assert set(part.for_few(3).users) < set(few.users)
    assert part.for_few(40) is part
    assert part.for_few(None) is part
