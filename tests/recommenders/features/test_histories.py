"""Readable histories have no relevant item of their user."""

from __future__ import annotations

import numpy as np

from recommenders.benchmark.prepared import mean_vectors
from recommenders.data.indexed import Indexed, pairs
from recommenders.data.split import COLD_USERS, WARM, Part, Scenario, Split
from recommenders.data.splits import parse
from recommenders.features.histories import readable_histories
from tests.recommenders.data.tiny import dataset

SHAPE = (3, 5)


def matrix(*where: tuple[int, int]) -> object:
    users, items = zip(*where, strict=True) if where else ((), ())
    return pairs(np.array(users, np.int64), np.array(items, np.int64), SHAPE)


def test_training_items_oldest_first_and_known_items_of_new_users() -> None:
    # User 0 is in training; user 1 is cold, with known item 4; user 2 has only a test item.
    indexed = Indexed(
        user_ids=("a", "b", "c"),
        item_ids=("p", "q", "r", "s", "t"),
        users=np.array([0, 0, 0, 0, 1, 1, 2, 0], np.int32),
        items=np.array([2, 0, 1, 3, 0, 4, 1, 2], np.int32),
        times=np.array([30, 10, 20, 40, 6, 5, 1, 50]),
    )
    train = matrix((0, 0), (0, 2))
    warm = Part(known=train, relevant=matrix((0, 1)))
    later = Part(known=train, relevant=matrix((0, 3), (2, 1)))
    cold = Part(known=matrix((1, 4)), relevant=matrix((1, 0)))
    split = Split(
        name="by hand",
        train=train,
        train_rows=np.array([0, 1, 7]),
        scenarios={WARM: Scenario(warm, later), COLD_USERS: Scenario(cold, cold)},
    )
    assert readable_histories(indexed, split) == {0: [0, 2], 1: [4]}


def test_known_items_that_are_relevant_in_another_part_are_not_readable() -> None:
    rows = [("u", "a", "train"), ("u", "b", "train"), ("v", "b", "train"), ("v", "a", "warm/test")]
    rows += [("new", "a", "warm/validation"), ("new", "b", "warm/test")]
    rows += [("cold", item, "cold-users/test") for item in "ba"]
    rows += [("colder", item, "cold-users/validation") for item in "ab"]
    data = dataset(
        [(u, i, time) for time, (u, i, _) in enumerate(rows)], parts=[p for *_, p in rows]
    )
    indexed = Indexed.of(data)
    split = parse({"kind": "published", "known": 1}).divide(data)
    new = indexed.user_ids.index("new")
    assert split.scenarios[WARM].test.known[[new]].nnz == 1
    found = readable_histories(indexed, split)
    assert {indexed.user_ids[user]: items for user, items in found.items()} == {
        "u": [0, 1],
        "v": [1],
        "cold": [1],
        "colder": [0],
    }
    assert not mean_vectors(split.readable(), np.eye(2, dtype=np.float32))[new].any()
