from __future__ import annotations

from recommenders.data.audit.counts import Spread, count, read_texts, text_groups
from recommenders.data.indexed import Indexed
from tests.recommenders.data.tiny import dataset


def test_interactions_are_counted() -> None:
    choices = [("u", "a", 1), ("u", "b", 2), ("u", "a", 3), ("v", "a", 1), ("w", "c", 1)]
    counts = count(Indexed.of(dataset(choices, items=["z", "a"])))
    assert (counts.users, counts.items, counts.items_unchosen) == (3, 4, 1)
    assert (counts.interactions, counts.repeated) == (5, 1)
    assert counts.density == 4 / 12
    assert counts.history == Spread(1, 1, 1, 1, 2)
    assert counts.popularity == Spread(1, 1, 1, 1, 2)
    assert counts.times == 3


def test_nothing_is_counted_too() -> None:
    counts = count(Indexed.of(dataset([], items=["a"])))
    assert (counts.users, counts.interactions, counts.density) == (0, 0, 0.0)
    assert counts.history == Spread(0, 0, 0, 0, 0)


TEXTS = dataset(
    [],
    items=["a", "b", "c", "d", "e", "f"],
    titles=["Up", " up ", "UP", "d", "e", "Up"],
    descriptions=["A house.", "a House. ", "", "", " ", "A HOUSE."],
    categories=["x", "", "x", "y", "", " "],
)


def test_texts_are_counted() -> None:
    texts = read_texts(TEXTS)
    assert texts.without_text == 1  # e; d has a category
    assert texts.without_title == 2
    assert texts.without_category == 3
    assert texts.without_description == 3
    assert texts.shared == 3
    assert texts.examples == (("Up", ("a", "b", "f")),)


def test_items_share_a_text_if_title_and_description_are_the_same() -> None:
    groups = text_groups(TEXTS).tolist()
    assert groups[0] == groups[1] == groups[5] != groups[2]
    assert groups[3:5] == [-1, -1]
