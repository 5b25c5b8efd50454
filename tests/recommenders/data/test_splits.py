"""Splits computed by hand, and invalid options."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from recommenders.data.errors import DatasetError
from recommenders.data.indexed import Indexed
from recommenders.data.splits import KINDS, parse
from tests.recommenders.data.tiny import dataset, named

if TYPE_CHECKING:
    from recommenders.data.dataset import Dataset
    from recommenders.data.split import Part, Split


def divide(data: Dataset, **options: Any) -> tuple[Split, Indexed]:
    return parse(options).divide(data), Indexed.of(data)


def pairs(text: str) -> set[tuple[str, str]]:
    """Parses "ua vb" as two pairs."""
    return {(pair[0], pair[1:]) for pair in text.split()}


def ranked(part: Part, indexed: Indexed) -> list[str]:
    assert part.candidates is not None
    return [indexed.item_ids[row] for row in part.candidates]


# By time u has a, b, c, d (the table has another order), v has b and a, w has only d.
CHOICES = [
    ("u", "b", 2),
    ("u", "a", 1),
    ("v", "b", 1),
    ("u", "d", 4),
    ("v", "a", 2),
    ("u", "c", 3),
    ("w", "d", 9),
    ("u", "a", 7),
]


def test_the_last_of_each_user_are_left_out_by_time_and_short_histories_stay() -> None:
    data = dataset([*CHOICES, ("x", "c", 1), ("x", "a", 2), ("x", "d", 3)])
    split, indexed = divide(data, kind="leave-last-out")
    warm = split.scenarios["warm"]
    assert named(split.train, indexed) == pairs("ua ub vb va wd xc")
    assert named(warm.validation.relevant, indexed) == pairs("uc xa")
    assert named(warm.test.relevant, indexed) == pairs("ud xd")
    assert named(warm.validation.known, indexed) == named(split.train, indexed)
    assert named(warm.test.known, indexed) == pairs("ua ub uc vb va wd xc xa")
    assert split.train_rows.tolist() == [0, 1, 2, 4, 6, 8]  # row 7 repeats row 1
    assert split.name == "leave-last-out(validation=1, test=1)"


def test_interactions_of_one_moment_are_in_the_order_of_the_table() -> None:
    choices = [("u", item, 0) for item in "dbca"] + [("v", item, 0) for item in "abcd"]
    split, indexed = divide(dataset([*choices, ("w", "b", 0)]), kind="leave-last-out", test=2)
    warm = split.scenarios["warm"]
    assert named(split.train, indexed) == pairs("ud va wb")
    assert named(warm.validation.relevant, indexed) == pairs("ub vb")
    # c is not in training: it is neither relevant nor ranked.
    assert named(warm.test.relevant, indexed) == pairs("ua vd")
    assert ranked(warm.test, indexed) == ["a", "b", "d"]


def test_time_cuts_the_whole_and_tells_new_items_and_new_users_apart() -> None:
    data = dataset(
        [
            *[("u", "a", 1), ("u", "b", 2), ("v", "a", 3), ("v", "c", 4)],
            *[("u", "c", 10), ("v", "x", 11), ("p", "a", 12), ("p", "b", 13), ("p", "x", 14)],
            *[("v", "b", 20), ("u", "x", 21), ("u", "y", 22), ("q", "c", 23), ("q", "a", 24)],
            *[("p", "c", 25), ("q", "y", 26)],
        ]
    )
    split, indexed = divide(data, kind="time", cuts=[10, 20], known=1)
    assert named(split.train, indexed) == pairs("ua ub va vc")
    warm, items, users = (split.scenarios[name] for name in ("warm", "cold-items", "cold-users"))
    assert named(warm.validation.relevant, indexed) == pairs("uc")
    assert named(warm.test.relevant, indexed) == pairs("vb")
    assert named(warm.test.known, indexed) == pairs("ua ub va vc uc")
    # x is first in validation, y in test; users of training are evaluated on them.
    assert named(items.validation.relevant, indexed) == pairs("vx")
    assert named(items.test.relevant, indexed) == pairs("uy")
    assert [ranked(part, indexed) for part in (items.validation, items.test)] == [["x"], ["y"]]
    # p is first in validation, q in test; later pairs of p are in no part.
    assert named(users.validation.known, indexed) == pairs("pa")
    assert named(users.validation.relevant, indexed) == pairs("pb")
    assert named(users.test.known, indexed) == pairs("qc")
    assert named(users.test.relevant, indexed) == pairs("qa")
    assert split.name == "time(cuts=(10, 20), known=1)"


@pytest.mark.parametrize("plan", [{"cuts": [5, 8]}, {"validation": 0.3, "test": 0.2}])
def test_pairs_of_the_moment_of_a_cut_are_all_in_the_later_part(plan: dict[str, Any]) -> None:
    # By shares the cuts fall on the sixth and the ninth pair, in the middle of those of 5 and of 8.
    times = dict(zip("abcdefghij", [1, 2, 3, 4, 5, 5, 5, 8, 8, 9], strict=True))
    first = [("w", item, 0) for item in "abcdefghij"]
    choices = [("u", item, time) for item, time in times.items()]
    split, indexed = divide(
        dataset([*choices, *first], items="abcdefghij"), kind="time", **cuts(plan)
    )
    warm = split.scenarios["warm"]
    assert {item for user, item in named(split.train, indexed) if user == "u"} == set("abcd")
    assert named(warm.validation.relevant, indexed) == pairs("ue uf ug")
    assert named(warm.test.relevant, indexed) == pairs("uh ui uj")


def cuts(plan: dict[str, Any]) -> dict[str, Any]:
    """Halves the shares, since another user has as many pairs that are all in training."""
    return {name: value if name == "cuts" else value / 2 for name, value in plan.items()}


def test_shares_that_no_moment_divides_are_refused_with_the_reason() -> None:
    without = [(f"u{user}", f"i{item}", 0) for user in range(10) for item in range(9)]
    data = dataset([*without, *((f"u{user}", "x", 1_600_000_000 + user) for user in range(10))])
    with pytest.raises(DatasetError, match="90 of 100 pairs have the time 0, so that no moment"):
        divide(data, kind="time")


def test_shares_of_time_are_shares_of_all_interactions() -> None:
    order = ["ua", "ub", "uc", "ud", "ve", "vf", "vg", "vh", "ue", "va", "uf", "vb"]
    data = dataset([(pair[0], pair[1], time) for time, pair in enumerate(order)])
    split, indexed = divide(data, kind="time", validation=1 / 6, test=1 / 6)
    warm = split.scenarios["warm"]
    assert split.train_rows.tolist() == list(range(8))
    assert named(warm.validation.relevant, indexed) == pairs("ue va")
    assert named(warm.test.relevant, indexed) == pairs("uf vb")
    assert list(split.scenarios) == ["warm"]  # no user and no item is new


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        ({"test": 0.01}, r"test 0.01 of 6 pairs is less than one pair"),
        ({"validation": 0.01}, r"validation 0.01 of 6 pairs is less than one pair"),
    ],
)
def test_a_share_of_time_without_a_pair_is_named(shares: dict[str, float], message: str) -> None:
    data = dataset([(f"u{time % 2}", f"i{time}", time) for time in range(6)])
    with pytest.raises(DatasetError, match=message):
        divide(data, kind="time", **shares)


def test_cold_items_leave_training_and_are_ranked_among_each_other() -> None:
    users, items = "uvwxyz", "abcdefghij"
    data = dataset([(user, item, 0) for user in users for item in items], items=["unchosen"])
    split, indexed = divide(data, kind="cold-items", share=0.4, seed=3)
    scenario = split.scenarios["cold-items"]
    validation, test = ranked(scenario.validation, indexed), ranked(scenario.test, indexed)
    trained = {item for _, item in named(split.train, indexed)}
    assert (len(validation), len(test), len(trained)) == (2, 2, 6)
    assert sorted([*validation, *test, *trained]) == list(items)
    for part, cold in ((scenario.validation, validation), (scenario.test, test)):
        assert named(part.relevant, indexed) == {(user, item) for user in users for item in cold}
        assert named(part.known, indexed) == named(split.train, indexed)


def test_who_chose_only_cold_items_is_not_asked_about_them() -> None:
    everybody = [(user, item, 0) for user in "uvwx" for item in "abcdefghij"]
    split, indexed = divide(dataset(everybody), kind="cold-items", share=0.4)
    cold = ranked(split.scenarios["cold-items"].test, indexed)[0]
    split, indexed = divide(dataset([*everybody, ("lone", cold, 0)]), kind="cold-items", share=0.4)
    relevant = named(split.scenarios["cold-items"].test.relevant, indexed)
    assert {user for user, item in relevant if item == cold} == set("uvwx")


def test_the_first_choices_of_cold_users_are_known() -> None:
    items = "abcdef"
    choices = [
        (user, item, (place - shift) % len(items))
        for shift, user in enumerate("stuvwxyz")
        for place, item in enumerate(items)
    ]
    data = dataset([*choices, ("short", "a", 0), ("short", "b", 1)])
    split, indexed = divide(data, kind="cold-users", share=0.5, known=2, seed=1)
    scenario = split.scenarios["cold-users"]
    cold = [
        indexed.user_ids[row] for part in (scenario.validation, scenario.test) for row in part.users
    ]
    assert len(cold) == len(set(cold)) == 4  # half of the eight with more than two
    assert {user for user, _ in named(split.train, indexed)} == set("stuvwxyz") - set(cold) | {
        "short"
    }
    when = {(user, item): time for user, item, time in choices}
    for part in (scenario.validation, scenario.test):
        assert {when[pair] for pair in named(part.known, indexed)} == {0, 1}
        assert {when[pair] for pair in named(part.relevant, indexed)} == {2, 3, 4, 5}
        assert part.known.nnz == 2 * len(part.users)


def test_one_seed_has_the_same_cold_items_whatever_else_is_held_back() -> None:
    data = dataset([(user, item, 0) for user in "stuvwxyz" for item in "abcdefghijkl"])
    alone, _ = divide(data, kind="cold-items", share=0.3, seed=2)
    warm, _ = divide(data, kind="cold-items", share=0.3, warm=0.2, seed=2)
    all_three, _ = divide(data, kind="combined", items=0.3, users=0.4, warm=0.2, seed=2)
    assert list(warm.scenarios) == ["warm", "cold-items"]
    assert list(all_three.scenarios) == ["warm", "cold-items", "cold-users"]
    for other in (warm, all_three):
        for name in ("validation", "test"):
            assert np.array_equal(
                getattr(alone.scenarios["cold-items"], name).candidates,
                getattr(other.scenarios["cold-items"], name).candidates,
            )
    users = all_three.scenarios["cold-users"]
    assert not set(users.test.users) & set(all_three.train.nonzero()[0])
    assert not set(users.test.relevant.indices) - set(all_three.train.indices)


def test_shares_of_short_histories_are_exact_on_average() -> None:
    data = dataset([(f"u{user}", item, 0) for user in range(3_000) for item in "abcde"])
    split, _ = divide(data, kind="random", validation=0.1, test=0.2, seed=4)
    warm = split.scenarios["warm"]
    assert warm.test.relevant.nnz == 3_000  # 0.2 of five is one
    assert (
        abs(warm.validation.relevant.nnz - 1_500) < 4 * 27.4
    )  # binomial with n = 3,000 and p = 1/2
    assert np.diff(split.train.indptr).min() == 3


def test_a_user_with_one_choice_keeps_it() -> None:
    data = dataset([("one", "a", 0), *[(u, item, 0) for u in "uvwxyz" for item in "abcdefghij"]])
    for seed in range(5):
        split, indexed = divide(data, kind="random", validation=0.4, test=0.4, seed=seed)
        assert ("one", "a") in named(split.train, indexed)


@pytest.mark.parametrize(
    ("options", "fingerprint"),
    [
        ({"kind": "random", "seed": 1}, "44ca6f9b10f463e0"),
        ({"kind": "leave-last-out"}, "ff1b4089eb927103"),
        ({"kind": "combined", "seed": 1}, "50c85dfc463a94b0"),
        ({"kind": "time", "validation": 0.2, "test": 0.2}, "177063a9964a108d"),
    ],
)
def test_splits_stay_the_same_from_release_to_release(
    options: dict[str, Any], fingerprint: str
) -> None:
    choices = [
        (f"u{user}", f"i{(7 * user + step * step) % 40}", user * 5 + step)
        for user in range(60)
        for step in range(14)
    ]
    assert parse(options).divide(dataset(choices)).fingerprint() == fingerprint


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "randon"}, "kind is 'randon'; there are random, leave-last-out, time, cold-"),
        ({"share": 0.1}, "kind is None"),
        ({"kind": ["random"]}, r"kind is \['random'\]"),
        (7, "split is 7, not a kind with options"),
        (
            {"kind": "cold-items", "shares": 1, "sead": 2},
            "split cold-items: unknown option sead, shares; it has share, warm, seed",
        ),
        ({"kind": "random", "test": "much"}, "split random: test is 'much', not a number"),
        ({"kind": "random", "test": True}, "test is True, not a number"),
        ({"kind": "random", "test": 0}, "test is 0; above 0 and below 1"),
        ({"kind": "random", "test": 0.6, "validation": 0.4}, "leave nothing to train on"),
        ({"kind": "random", "seed": 1.5}, "seed is 1.5, not a whole number"),
        ({"kind": "random", "seed": -1}, "seed is -1; at least 0"),
        ({"kind": "leave-last-out", "test": 0}, "test is 0; at least 1"),
        ({"kind": "time", "cuts": [2, 1]}, "validation must begin before test"),
        ({"kind": "time", "cuts": ["1999", "2000"]}, "not two whole numbers of seconds"),
        ({"kind": "time", "cuts": 5}, "cuts are 5, not two"),
        ({"kind": "time", "cuts": [1, 2], "test": 0.1}, "either cuts, or the shares"),
        ({"kind": "cold-users", "known": 0}, "known is 0; at least 1"),
        ({"kind": "cold-items", "warm": 0.5}, "warm is 0.5; it must be below 0.5"),
        ({"kind": "combined", "warm": 0}, "warm is 0; above 0"),
    ],
)
def test_options_that_make_no_sense_are_named(options: Any, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        parse(options)


def test_a_kind_alone_has_its_defaults() -> None:
    assert parse("random") == parse({"kind": "random", "validation": 0.1, "test": 0.1, "seed": 0})
    assert {kind: parse(kind).kind for kind in KINDS} == {kind: kind for kind in KINDS}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "leave-last-out"}, "warm/validation has no relevant items"),
        ({"kind": "cold-items"}, "0.2 of 2 gives fewer than one for each half"),
        ({"kind": "cold-users"}, "0.2 of 0 gives fewer than one for each half"),
        ({"kind": "time"}, "have the same timestamp"),
        ({"kind": "time", "cuts": [-5, -4]}, "no scenario has relevant items in both"),
        ({"kind": "published"}, "dataset tiny has no published split: no column 'part'"),
    ],
)
def test_too_little_data_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        parse(options).divide(dataset([("u", "a", 0), ("u", "b", 0)]))
