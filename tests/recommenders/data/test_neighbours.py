from __future__ import annotations

from recommenders.data.neighbours import co_chosen


def test_cosine_by_hand() -> None:
    """Item c co-occurs most often with a, but has nine users: 3/sqrt(3*9) < 2/sqrt(3*2) of b."""
    histories = {
        "u1": ["a", "b", "c"],
        "u2": ["c", "a", "b", "a"],
        "u3": ["a", "d", "c"],
        **{f"v{number}": ["c"] for number in range(6)},
    }
    items = ["a", "b", "c", "d", "never"]
    nearest = list(co_chosen(histories, items, limit=10))
    assert nearest[0] == ["d", "c", "b"]
    assert nearest[3] == ["c", "a"]
    assert nearest[4] == []
    assert next(co_chosen(histories, items, limit=1)) == ["b"]
    some = co_chosen(histories, items, of=["never", "a"], limit=10)
    assert list(some) == [nearest[4], nearest[0]]


def test_ties_keep_the_order_of_the_items() -> None:
    assert list(co_chosen({"u": ["c", "b", "a"]}, ["a", "b", "c"], limit=1)) == [
        ["b"],
        ["a"],
        ["a"],
    ]


def test_nobody_chose_anything() -> None:
    assert list(co_chosen({}, ["a", "b"], limit=3)) == [[], []]
    assert list(co_chosen({}, [], limit=3)) == []
