"""Planted leaks of each kind are found, and texts without them pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from recommenders.data.audit.text_leaks import TextLeak, find_text_leaks
from recommenders.data.splits import parse
from tests.recommenders.data.tiny import dataset

if TYPE_CHECKING:
    from recommenders.data.dataset import Dataset
    from recommenders.data.split import Split

USERS, ITEMS, EACH = 300, 200, 15
WORDS = [f"word{number}" for number in range(60)]


def popular(*, drift: bool = False, seed: int = 0) -> Dataset:
    """Items differ in popularity; with drift, in each user's last choices by another one."""
    rng = np.random.default_rng(seed)
    early = rng.permutation(1 / (1 + np.arange(ITEMS)) ** 0.8)
    late = rng.permutation(early) if drift else early
    choices = []
    for user in range(USERS):
        first = rng.choice(ITEMS, EACH, replace=False, p=early / early.sum())
        rest = np.setdiff1d(np.arange(ITEMS), first)
        last = rng.choice(rest, 3, replace=False, p=late[rest] / late[rest].sum())
        order = [*first.tolist(), *last.tolist()]
        choices += [(f"u{user}", f"i{item:03}", time) for time, item in enumerate(order)]
    return dataset(choices, items=[f"i{item:03}" for item in range(ITEMS)])


def fair(seed: int = 1) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, rng.integers(3, 12))) for _ in range(ITEMS)]


def later_counts(split: Split, scenario: str) -> np.ndarray:
    part = split.scenarios[scenario].test
    return np.bincount(part.relevant.indices, minlength=ITEMS)


def total(data: Dataset) -> np.ndarray:
    return np.bincount([int(item[1:]) for item in data.interactions["item_id"].to_pylist()])


def find(split: Split, texts: list[str]) -> dict[str, TextLeak]:
    return {leak.by: leak for leak in find_text_leaks(split, texts, [""] * ITEMS)}


COLD, WARM = {"kind": "cold-items", "share": 0.6}, {"kind": "leave-last-out", "test": 3}


@pytest.mark.parametrize("plan", [COLD, WARM], ids=["cold", "warm"])
def test_texts_that_know_nothing_pass(plan: dict[str, object]) -> None:
    data = popular(drift=True)
    found = find(parse(plan).divide(data), fair())
    assert set(found) == {"words", "fields", "vocabulary"}
    assert not any(leak.leaks for leak in found.values())
    assert [leak.reasons() for leak in found.values()] == [[], [], []]


def test_tags_of_those_who_choose_an_item_are_found() -> None:
    data, rng = popular(), np.random.default_rng(2)
    # As in CiteULike: the more people save it, the more tags it has.
    tags = [", ".join(rng.choice(WORDS, min(1 + count // 4, 30))) for count in total(data)]
    found = find(parse(COLD).divide(data), tags)
    leak = found["fields"]
    assert leak.leaks
    assert leak.correlation > 0.8
    assert leak.recall is not None
    assert leak.recall_by_chance == pytest.approx(1 / 3)
    assert leak.recall > 2 * leak.recall_by_chance
    (reason,) = leak.reasons()
    assert reason.startswith(
        "the number of fields of an item's text knows how popular items are in cold-items/test: "
    )
    assert f"ranked by it, recall@20 is {leak.recall:.3f}, by chance 0.333" in reason


def test_short_texts_of_popular_items_are_found_too() -> None:
    data = popular()
    counts = total(data)
    texts = [" ".join(["word"] * int(1 + 40 * (counts > count).mean())) for count in counts]
    leak = find(parse(COLD).divide(data), texts)["words"]
    assert leak.leaks
    assert leak.correlation < -0.5
    assert leak.recall is not None
    assert leak.recall_by_chance is not None
    assert leak.recall > leak.recall_by_chance


def test_words_that_know_success_are_found_for_cold_items() -> None:
    data = popular()
    counts = total(data)
    told = ["a bestseller", "well received", "hardly noticed"]
    level = np.searchsorted(-np.quantile(counts, [0.67, 0.33]), -counts)
    texts = [f"{text} {told[kind]}" for text, kind in zip(fair(), level, strict=True)]
    found = find(parse(COLD).divide(data), texts)
    assert found["vocabulary"].leaks
    assert not found["fields"].leaks
    assert "the vocabulary of an item's text" in found["vocabulary"].reasons()[0]


def test_of_known_items_what_training_tells_is_no_leak() -> None:
    data = popular()
    split = parse(WARM).divide(data)
    train = np.bincount(split.train.indices, minlength=ITEMS)
    texts = [" ".join(["word"] * int(1 + count)) for count in train]
    leak = find(split, texts)["words"]
    assert abs(leak.correlation) < 0.3
    assert not leak.leaks


def test_of_known_items_texts_that_know_the_test_are_found() -> None:
    data = popular(drift=True)
    split = parse(WARM).divide(data)
    later = later_counts(split, "warm")
    longer = [f"{text}{' more' * int(count)}" for text, count in zip(fair(), later, strict=True)]
    found = find(split, longer)
    assert found["words"].leaks
    assert found["words"].recall is None
    assert "in warm/test, beyond their popularity in training" in found["words"].reasons()[0]
    rising = np.quantile(later, 0.7)
    told = [
        f"{text} {'rising trending' if count > rising else 'fading forgotten'}"
        for text, count in zip(fair(), later, strict=True)
    ]
    assert find(split, told)["vocabulary"].leaks


def test_categories_may_explain_popularity() -> None:
    data = popular(drift=True)
    split = parse(WARM).divide(data)
    late = later_counts(split, "warm") > np.median(later_counts(split, "warm"))
    categories = ["new" if new else "old" for new in late]
    texts = ["one two three four" if new else "one" for new in late]
    (words, *_) = find_text_leaks(split, texts, categories)
    assert abs(words.correlation) < 0.05


def test_profiles_of_items_are_named_as_such() -> None:
    data = popular()
    profiles = [" ".join(["loved"] * int(1 + count)) for count in total(data)]
    split = parse(COLD).divide(data)
    found = find_text_leaks(split, profiles, [""] * ITEMS, of="item profiles")
    assert "the number of words of an item's profile" in found[0].reasons()[0]


def test_few_items_are_not_compared() -> None:
    data = popular()
    split = parse(COLD).divide(data)
    assert find_text_leaks(split, ["a text"] * 10 + [""] * (ITEMS - 10), [""] * ITEMS) == ()
