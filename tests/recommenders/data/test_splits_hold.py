"""Properties of every split of every dataset."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from recommenders.data.errors import DatasetError
from recommenders.data.indexed import Indexed
from recommenders.data.splits import parse
from tests.recommenders.data.tiny import dataset

if TYPE_CHECKING:
    from scipy import sparse

    from recommenders.data.dataset import Dataset
    from recommenders.data.split import Split

CHOICES = st.lists(
    st.tuples(
        st.integers(0, 11).map("u{}".format),
        st.integers(0, 9).map("i{}".format),
        st.integers(0, 30),
    ),
    min_size=30,
    max_size=120,
)
PLANS = st.one_of(
    st.fixed_dictionaries(
        {"kind": st.just("random"), "test": st.sampled_from([0.1, 0.4]), "seed": st.integers(0, 3)}
    ),
    st.fixed_dictionaries({"kind": st.just("leave-last-out"), "test": st.integers(1, 2)}),
    st.fixed_dictionaries({"kind": st.just("time"), "known": st.integers(1, 2)}),
    st.just({"kind": "time", "cuts": [12, 20]}),
    st.fixed_dictionaries(
        {
            "kind": st.just("cold-items"),
            "share": st.sampled_from([0.3, 0.6]),
            "warm": st.sampled_from([0.0, 0.2]),
            "seed": st.integers(0, 3),
        }
    ),
    st.fixed_dictionaries(
        {"kind": st.just("cold-users"), "share": st.just(0.5), "seed": st.integers(0, 3)}
    ),
    st.fixed_dictionaries(
        {
            "kind": st.just("combined"),
            "items": st.just(0.3),
            "users": st.just(0.4),
            "known": st.integers(1, 2),
            "seed": st.integers(0, 3),
        }
    ),
)


def split_or_skip(data: Dataset, options: dict[str, Any]) -> Split:
    try:
        return parse(options).divide(data)
    except DatasetError:
        assume(False)
        raise


def cells(matrix: sparse.csr_array) -> set[tuple[int, int]]:
    rows, columns = matrix.nonzero()
    return set(zip(rows.tolist(), columns.tolist(), strict=True))


@settings(deadline=None, max_examples=70)
@given(choices=CHOICES, options=PLANS)
def test_what_is_asked_is_nowhere_else(
    choices: list[tuple[str, str, int]], options: dict[str, Any]
) -> None:
    data = dataset(choices)
    split = split_or_skip(data, options)
    indexed = Indexed.of(data)
    everything, train = cells(indexed.matrix()), cells(split.train)
    asked: list[set[tuple[int, int]]] = []
    trained_users = {user for user, _ in train}
    trained_items = {item for _, item in train}
    for scenario, _, part in split.parts():
        relevant, known = cells(part.relevant), cells(part.known)
        assert relevant
        assert relevant <= everything
        assert not relevant & train
        assert not relevant & known
        assert all(not relevant & others for others in asked)
        asked.append(relevant)
        users, items = {user for user, _ in relevant}, {item for _, item in relevant}
        if part.candidates is not None:
            assert items <= set(part.candidates.tolist())
        if scenario == "cold-users":
            assert not users & trained_users
            assert items <= trained_items
            assert all(sum(user == row for row, _ in known) >= 1 for user in users)
        else:
            assert users <= trained_users
            assert train <= known
        if scenario == "warm":
            assert items <= trained_items
        if scenario == "cold-items":
            assert part.candidates is not None
            assert not set(part.candidates.tolist()) & trained_items


@settings(deadline=None, max_examples=30)
@given(choices=CHOICES, options=PLANS)
def test_the_rows_of_training_are_its_pairs_each_at_its_first_interaction(
    choices: list[tuple[str, str, int]], options: dict[str, Any]
) -> None:
    data = dataset(choices)
    split = split_or_skip(data, options)
    indexed = Indexed.of(data)
    rows = split.train_rows
    assert (np.diff(rows) > 0).all()
    assert len(rows) == split.train.nnz
    assert cells(indexed.matrix(rows)) == cells(split.train)
    first: dict[tuple[str, str], int] = {}
    for user, item, time in choices:
        first[user, item] = min(time, first.get((user, item), time))
    assert all(first[choices[row][:2]] == choices[row][2] for row in rows)


@settings(deadline=None, max_examples=30)
@given(choices=CHOICES, options=PLANS)
def test_one_plan_divides_one_dataset_in_one_way(
    choices: list[tuple[str, str, int]], options: dict[str, Any]
) -> None:
    once = split_or_skip(dataset(choices), options)
    again = parse(options).divide(dataset(choices))
    assert once.fingerprint() == again.fingerprint()
    assert once.name == again.name


@settings(deadline=None, max_examples=25)
@given(choices=CHOICES, known=st.integers(1, 3))
def test_what_is_known_of_a_cold_user_is_no_later_than_what_is_asked(
    choices: list[tuple[str, str, int]], known: int
) -> None:
    data = dataset(choices)
    split = split_or_skip(data, {"kind": "cold-users", "share": 0.5, "known": known})
    indexed = Indexed.of(data)
    when: dict[tuple[int, int], int] = {}
    for user, item, time in zip(
        indexed.users.tolist(), indexed.items.tolist(), indexed.times.tolist(), strict=True
    ):
        when[user, item] = min(time, when.get((user, item), time))
    for _, _, part in split.parts():
        for user in part.users.tolist():
            before = [when[pair] for pair in cells(part.known) if pair[0] == user]
            after = [when[pair] for pair in cells(part.relevant) if pair[0] == user]
            assert len(before) == known
            assert max(before) <= min(after)


@pytest.mark.parametrize("kind", ["random", "cold-items", "cold-users", "combined"])
def test_another_seed_divides_in_another_way(kind: str) -> None:
    data = dataset([(f"u{u}", f"i{i}", u + i) for u in range(30) for i in range(20)])
    splits = [parse({"kind": kind, "seed": seed}).divide(data) for seed in (1, 2)]
    assert splits[0].fingerprint() != splits[1].fingerprint()
    assert cells(splits[0].train) != cells(splits[1].train)
