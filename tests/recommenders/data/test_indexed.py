from __future__ import annotations

import numpy as np
import pyarrow as pa

from recommenders.data.dataset import Dataset
from recommenders.data.indexed import Indexed, distinct, pairs
from tests.recommenders.data.tiny import dataset

CHOICES = [("v", "b", 5), ("u", "a", 4), ("v", "c", 3), ("v", "b", 9)]


def test_users_are_numbered_as_they_come_and_items_as_they_stand() -> None:
    indexed = Indexed.of(dataset(CHOICES, items=["z", "c"]))
    assert indexed.user_ids == ("v", "u")
    assert indexed.item_ids == ("z", "c", "a", "b")
    assert indexed.users.tolist() == [0, 1, 0, 0]
    assert indexed.items.tolist() == [3, 2, 1, 3]
    assert indexed.times.tolist() == [5, 4, 3, 9]
    assert (indexed.users.dtype, indexed.items.dtype) == (np.int32, np.int32)
    assert indexed.shape == (2, 4)


def test_numbers_do_not_depend_on_how_the_table_is_chunked() -> None:
    whole = dataset(CHOICES)
    table = whole.interactions
    pieces = pa.concat_tables([table.slice(0, 1), table.slice(1, 2), table.slice(3)])
    indexed = Indexed.of(Dataset(whole.info, whole.items, pieces))
    expected = Indexed.of(whole)
    assert indexed.user_ids == expected.user_ids
    assert indexed.users.tolist() == expected.users.tolist()
    assert indexed.items.tolist() == expected.items.tolist()


def test_a_pair_is_one_however_often_it_is_there() -> None:
    indexed = Indexed.of(dataset(CHOICES))
    matrix = indexed.matrix()
    assert matrix.dtype == np.float32
    assert matrix.todense().tolist() == [[0, 1, 1], [1, 0, 0]]
    assert matrix.has_sorted_indices


def test_interactions_are_chosen_by_mask_or_by_number() -> None:
    indexed = Indexed.of(dataset(CHOICES))
    by_number = indexed.matrix(np.array([1, 2]))
    by_mask = indexed.matrix(np.array([False, True, True, False]))
    assert by_number.todense().tolist() == by_mask.todense().tolist() == [[0, 0, 1], [1, 0, 0]]


def test_nobody_and_nothing_can_be_numbered() -> None:
    indexed = Indexed.of(dataset([], items=["a"]))
    assert indexed.shape == (0, 1)
    assert indexed.matrix().shape == (0, 1)


def test_pairs_fill_the_shape_that_is_given() -> None:
    matrix = pairs(np.array([1]), np.array([0]), (3, 2))
    assert matrix.todense().tolist() == [[0, 0], [1, 0], [0, 0]]


def test_distinct_numbers_are_ascending_each_once() -> None:
    assert distinct(np.array([5, 2, 5, 9, 2])).tolist() == [2, 5, 9]
    assert distinct(np.empty(0, np.int64)).tolist() == []
    assert distinct(np.array([7])).tolist() == [7]
