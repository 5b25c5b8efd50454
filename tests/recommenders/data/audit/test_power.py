from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from recommenders.data.audit.alignment import texts_of
from recommenders.data.audit.power import (
    FACTOR,
    PartPower,
    contributions,
    find_power,
    standard_errors,
)
from recommenders.data.split import Part
from recommenders.data.splits import parse
from recommenders.evaluation import evaluate
from tests.recommenders.data.audit.towns import USERS, make


class Table:
    def __init__(self, values: np.ndarray) -> None:
        self._values = values

    def scores(self, users: np.ndarray, known: sparse.csr_array) -> np.ndarray:
        return self._values[users]


def test_contributions_add_up_to_the_ndcg_of_the_evaluation() -> None:
    rng = np.random.default_rng(0)
    scores = rng.random((30, 50)).astype(np.float32)
    chosen = rng.random((30, 50)) < 0.3
    chosen[:, 0] = True
    tested = chosen & (rng.random((30, 50)) < 0.5)
    tested[:, 0] = True
    known, relevant = (
        sparse.csr_array(mask.astype(np.float32)) for mask in (chosen & ~tested, tested)
    )
    found = contributions(scores, known.toarray() > 0, relevant)
    part = Part(known=known, relevant=relevant)
    wanted = evaluate(Table(scores), part).values["ndcg@20"]
    assert np.asarray(found.sum(axis=1)).ravel() == pytest.approx(wanted)


def test_the_error_is_that_of_the_mean_where_users_share_no_item() -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(0.1, 0.3, 200)
    rows = np.arange(200)
    gains = sparse.csr_array((values, (rows, rows)), shape=(200, 200))
    relevant = sparse.csr_array((np.ones(200), (rows, rows)), shape=(200, 200))
    part = Part(known=sparse.csr_array((200, 200)), relevant=relevant)
    wanted = pytest.approx(values.std() / np.sqrt(200))
    assert standard_errors(gains, relevant, part) == (wanted, wanted)


def test_items_that_all_users_share_are_a_source_of_chance_of_their_own() -> None:
    # Two items decide: whoever has the first one gains 1, the others nothing.
    rows, columns = np.arange(1_000), np.arange(1_000) % 2
    relevant = sparse.csr_array((np.ones(1_000), (rows, columns)), shape=(1_000, 2))
    gains = sparse.csr_array(((columns == 0).astype(float), (rows, columns)), shape=(1_000, 2))
    part = Part(known=sparse.csr_array((1_000, 2)), relevant=relevant)
    by_user_alone = 0.5 / np.sqrt(1_000)
    # sum over the two items of (500 x 0.5)^2 / 1000^2 = 0.125
    both, by_users = standard_errors(gains, relevant, part)
    assert both == pytest.approx(np.sqrt(0.125), rel=0.01)
    assert by_users == pytest.approx(by_user_alone)


def test_each_part_says_what_it_asks_about_and_what_it_could_show() -> None:
    data = make(faithful=True)
    split = parse({"kind": "cold-items", "share": 0.4, "warm": 0.1}).divide(data)
    found = {f"{part.scenario}/{part.part}": part for part in find_power(split, texts_of(data))}
    cold = found["cold-items/test"]
    test = split.scenarios["cold-items"].test
    assert cold.users == len(test.users) > 50
    assert (cold.items, cold.ranked) == (len(np.unique(test.relevant.indices)), 30)
    assert 0.01 < cold.detectable == FACTOR * cold.error < 0.5
    assert 0.01 < cold.detectable_by_users < cold.detectable
    assert cold.reasons() == []
    assert set(found) == {
        "cold-items/test",
        "cold-items/validation",
        "warm/test",
        "warm/validation",
    }


def test_more_users_show_smaller_differences() -> None:
    small, large = (
        find_power(parse("random").divide(data), texts_of(data))[1]
        for data in (make(faithful=True), make(faithful=True, users=4 * USERS))
    )
    assert large.users > 3 * small.users
    assert large.detectable < 0.8 * small.detectable


def test_eight_users_show_nothing() -> None:
    part = PartPower(
        scenario="warm", part="test", users=8, items=11, ranked=90, error=0.1, error_by_users=0.1
    )
    assert part.reasons() == [
        "warm/test asks about 8 users; below 50 nothing can be said",
        "warm/test asks about 11 items; below 20 nothing can be said",
    ]
