from __future__ import annotations

import numpy as np
import pytest

from recommenders.data.errors import DatasetError
from recommenders.data.indexed import Indexed
from recommenders.data.splits import parse
from tests.recommenders.data.tiny import dataset, named

TRAIN, WARM, COLD = "train", "warm/test", "cold-items/test"
ALL = [
    ("u", "a", "train"),
    ("u", "b", "warm/validation"),
    ("u", "c", "warm/test"),
    ("v", "b", "train"),
    ("v", "c", "train"),
    ("u", "x", "cold-items/validation"),
    ("v", "y", "cold-items/test"),
    ("p", "a", "cold-users/validation"),
    ("p", "c", "cold-users/validation"),
    ("q", "b", "cold-users/test"),
    ("q", "a", "cold-users/test"),
]


def test_published_parts_are_taken_as_they_are() -> None:
    data = dataset([(u, i, 0) for u, i, _ in ALL], parts=[part for *_, part in ALL])
    indexed = Indexed.of(data)
    split = parse({"kind": "published", "known": 1}).divide(data)
    assert split.name == "published(known=1)"
    assert named(split.train, indexed) == {("u", "a"), ("v", "b"), ("v", "c")}
    assert split.train_rows.tolist() == [0, 3, 4]
    warm, items, users = (split.scenarios[name] for name in ("warm", "cold-items", "cold-users"))
    assert named(warm.validation.relevant, indexed) == {("u", "b")}
    assert named(warm.test.relevant, indexed) == {("u", "c")}
    assert named(warm.test.known, indexed) == {("u", "a"), ("u", "b"), ("v", "b"), ("v", "c")}
    assert named(items.validation.relevant, indexed) == {("u", "x")}
    assert named(items.test.relevant, indexed) == {("v", "y")}
    assert named(items.test.known, indexed) == named(split.train, indexed)
    assert named(users.validation.known, indexed) == {("p", "a")}
    assert named(users.validation.relevant, indexed) == {("p", "c")}
    assert named(users.test.known, indexed) == {("q", "b")}
    assert named(users.test.relevant, indexed) == {("q", "a")}
    a, b, c, x, y = range(5)
    for part, ranked in [
        (warm.test, [a, b, c]),
        (users.test, [a, b, c]),
        (items.validation, [x]),
        (items.test, [y]),
    ]:
        assert np.asarray(part.candidates).tolist() == ranked


def test_missing_warm_validation_is_taken_out_of_each_users_training() -> None:
    choices = [(f"u{user}", f"i{item}", 0) for user in range(20) for item in range(12)]
    parts = [TRAIN if item < 10 else WARM for _ in range(20) for item in range(12)]
    data = dataset(choices, parts=parts)
    split = parse({"kind": "published", "validation": 0.2, "seed": 5}).divide(data)
    warm = split.scenarios["warm"]
    assert split.name == "published(warm/validation=0.2 of training, seed=5)"
    assert np.diff(split.train.indptr).tolist() == [8] * 20
    assert np.diff(warm.validation.relevant.indptr).tolist() == [2] * 20
    assert np.diff(warm.test.relevant.indptr).tolist() == [2] * 20
    assert np.diff(warm.test.known.indptr).tolist() == [10] * 20
    assert warm.test.candidates is None
    other = parse({"kind": "published", "validation": 0.2, "seed": 6}).divide(data)
    assert (other.train != split.train).nnz > 0


def test_missing_validation_of_cold_items_is_half_of_them_and_training_stays() -> None:
    choices = [(f"u{user}", f"i{item}", 0) for user in range(4) for item in range(9)]
    parts = [TRAIN if item < 4 else COLD for _ in range(4) for item in range(9)]
    split = parse("published").divide(dataset(choices, parts=parts))
    cold = split.scenarios["cold-items"]
    halves = [np.asarray(part.candidates).tolist() for part in (cold.validation, cold.test)]
    assert split.name == "published(cold-items/validation=half of the test items, seed=0)"
    assert [len(half) for half in halves] == [2, 3]
    assert sorted(halves[0] + halves[1]) == [4, 5, 6, 7, 8]
    assert split.train.nnz == 16
    assert sorted(set(cold.test.relevant.indices.tolist())) == halves[1]


def test_missing_validation_of_cold_users_is_half_of_them() -> None:
    choices = [(f"u{user}", f"i{item}", item) for user in range(8) for item in range(5)]
    parts = [TRAIN if user < 4 else "cold-users/test" for user in range(8) for _ in range(5)]
    split = parse("published").divide(dataset(choices, parts=parts))
    cold = split.scenarios["cold-users"]
    assert split.name == "published(cold-users/validation=half of the test users, seed=0; known=3)"
    assert sorted([*cold.validation.users, *cold.test.users]) == [4, 5, 6, 7]
    assert len(cold.test.users) == 2
    assert set(cold.test.known.indices) == {0, 1, 2}
    assert set(cold.test.relevant.indices) == {3, 4}


def test_what_was_published_twice_is_left_for_the_audit_to_find() -> None:
    choices = [("u", item, 0) for item in "abcdefghijk"] + [("u", "a", 1), ("v", "b", 1)]
    data = dataset(choices, parts=[TRAIN] * 11 + [WARM, TRAIN])
    split = parse({"kind": "published", "validation": 0.5}).divide(data)
    assert named(split.scenarios["warm"].test.relevant, Indexed.of(data)) == {("u", "a")}


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([TRAIN, "test"], "interactions: row 1 has part 'test'; known are cold-items/test, cold-"),
        ([None, TRAIN], "row 0 has part None"),
        ([TRAIN, "warm/validation"], "dataset tiny: warm has no test part"),
        ([TRAIN, TRAIN], "the column 'part' has no test part"),
    ],
)
def test_parts_that_mean_nothing_are_refused(parts: list[str | None], message: str) -> None:
    data = dataset([("u", "a", 0), ("u", "b", 0)], parts=parts)
    with pytest.raises(DatasetError, match=message):
        parse("published").divide(data)


def test_published_cold_items_serve_a_split_that_draws_the_rest() -> None:
    choices = [(f"u{user}", f"i{item:02}", 0) for user in range(20) for item in range(16)]
    for validation, expected in ((False, None), (True, ([12, 13], [14, 15]))):
        cold = ["cold-items/validation" if validation and i < 14 else COLD for i in range(12, 16)]
        parts = [TRAIN if item < 12 else cold[item - 12] for _ in range(20) for item in range(16)]
        options = {"kind": "combined", "items": "published", "users": 0.2, "known": 2, "seed": 3}
        split = parse(options).divide(dataset(choices, parts=parts))
        assert list(split.scenarios) == ["warm", "cold-items", "cold-users"]
        scenario = split.scenarios["cold-items"]
        halves = [
            np.asarray(part.candidates).tolist() for part in (scenario.validation, scenario.test)
        ]
        assert sorted(halves[0] + halves[1]) == [12, 13, 14, 15]
        assert len(halves[0]) == 2
        if expected:
            assert halves == list(expected)
        assert set(split.train.indices) == set(range(12))
    with pytest.raises(DatasetError, match="the published split has no cold items"):
        parse(options).divide(dataset([("u", "a", 0), ("u", "b", 0)], parts=[TRAIN, WARM]))


def test_the_papers_protocol_tests_on_known_and_new_items_together() -> None:
    choices = [("u", "a"), ("v", "b"), ("v", "c"), ("u", "b"), ("v", "x"), ("u", "y"), ("v", "d")]
    parts = [TRAIN, TRAIN, TRAIN, WARM, COLD, COLD, TRAIN]
    data = dataset([(user, item, 0) for user, item in choices], parts=parts)
    indexed = Indexed.of(data)
    split = parse("paper").divide(data)
    assert split.name == "paper()"
    assert split.train.nnz == 4
    full, cold = split.scenarios["full"], split.scenarios["cold-items"]
    assert named(full.test.relevant, indexed) == {("u", "b"), ("v", "x"), ("u", "y")}
    assert [indexed.item_ids[row] for row in full.test.candidates] == ["b", "x", "y"]
    assert named(cold.test.relevant, indexed) == {("v", "x"), ("u", "y")}
    assert [indexed.item_ids[row] for row in cold.test.candidates] == ["x", "y"]
    assert full.validation is full.test
    assert named(full.test.known, indexed) == named(split.train, indexed)
