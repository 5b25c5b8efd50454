from __future__ import annotations

from training.data.neighbours import co_chosen


def test_cosine_by_hand() -> None:
    """B with a: 2 of a's 3 choosers, cosine 2/sqrt(3*2); c: 2/sqrt(3*3); d: 1/sqrt(3*1)."""
    histories = {
        "u1": ["a", "b", "c"],
        "u2": ["c", "a", "b", "a"],
        "u3": ["a", "d"],
        "u4": ["c"],
    }
    nearest = list(co_chosen(histories, ["a", "b", "c", "d", "never"], limit=10))
    assert nearest[0] == ["d", "c", "b"]
    assert nearest[3] == ["a"]
    assert nearest[4] == []
    assert next(iter(co_chosen(histories, ["a", "b", "c", "d", "never"], limit=1))) == ["b"]


def test_ties_keep_the_order_of_the_items() -> None:
    assert list(co_chosen({"u": ["c", "b", "a"]}, ["a", "b", "c"], limit=1)) == [
        ["b"],
        ["a"],
        ["a"],
    ]


def test_nobody_chose_anything() -> None:
    assert list(co_chosen({}, ["a", "b"], limit=3)) == [[], []]
    assert list(co_chosen({}, [], limit=3)) == []
