from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from recommenders.data.audit.alignment import (
    Alignment,
    Sampling,
    category_alignment,
    text_alignment,
)
from recommenders.data.dataset import Dataset
from recommenders.data.indexed import Indexed
from tests.recommenders.data.audit.towns import TOPICS, make
from tests.recommenders.data.tiny import dataset

QUICK = Sampling(pairs=2_000, permutations=199)


def both(data: Dataset, sampling: Sampling = QUICK) -> tuple[Alignment, Alignment]:
    indexed = Indexed.of(data)
    return text_alignment(data, indexed, sampling), category_alignment(data, indexed, sampling)


def test_text_that_belongs_to_what_users_chose_is_aligned() -> None:
    for found in both(make(faithful=True)):
        assert found.verdict == "aligned"
        assert found.p == 1 / 200
        assert found.lift > 1.1
        assert found.z > 4
        assert found.observed > found.expected


@pytest.mark.parametrize(
    "data",
    [make(faithful=True, shuffle=True), make(faithful=False)],
    ids=["ids mixed up", "users without taste"],
)
def test_text_that_has_nothing_to_do_with_it_is_not_aligned(data: Dataset) -> None:
    for found in both(data):
        assert found.verdict == "not aligned"
        assert abs(found.z) < 3


def test_by_chance_p_is_low_as_often_as_it_says() -> None:
    sampling = Sampling(pairs=500, permutations=19)
    data, rng = make(faithful=True), np.random.default_rng(2)
    texts = data.items.select(["title", "category", "description"])
    found = []
    for _ in range(60):
        mixed = texts.take(rng.permutation(texts.num_rows))
        columns = [data.items["item_id"], *mixed.columns]
        items = pa.table(columns, names=data.items.column_names)
        mixed_up = Dataset(data.info, items, data.interactions)
        found.append(text_alignment(mixed_up, Indexed.of(mixed_up), sampling).p)
    # Each is at most 0.25 with probability 0.25: 15 of 60 expected, standard deviation 3.4.
    assert 4 <= sum(p <= 0.25 for p in found) <= 26
    assert np.mean(found) == pytest.approx(0.525, abs=0.13)


def test_popular_items_that_resemble_each_other_are_no_sign_of_alignment() -> None:
    rng = np.random.default_rng(1)
    items, popular = 400, 50
    weight = np.where(np.arange(items) < popular, 20.0, 1.0)
    choices = [
        (f"u{user}", f"i{item:03}", 0)
        for user in range(300)
        for item in rng.choice(items, 8, replace=False, p=weight / weight.sum())
    ]
    names = [f"i{item:03}" for item in range(items)]
    titles = [
        f"hit {rng.choice(['a1', 'b2', 'c3'])}" if item < popular else f"film {item}x"
        for item in range(items)
    ]
    data = dataset(choices, items=names, titles=titles)
    found = text_alignment(data, Indexed.of(data), QUICK)
    assert found.verdict == "not aligned"
    assert found.lift == pytest.approx(1, abs=0.1)


def films(*, shift: int = 0, taste: bool = True, seed: int = 0) -> Dataset:
    """Films in order of release, with the year in the title; users choose among those of few years.

    Args:
        shift: The title of each film is that of the film so many rows before; genres stay right.
        taste: Users choose by genre too; otherwise by year alone.
        seed: Where chance starts.
    """
    rng = np.random.default_rng(seed)
    count = 240
    genre = rng.integers(0, len(TOPICS), count)
    year = 1960 + np.arange(count) // 6
    choices = []
    for user in range(400):
        near = np.exp(-(((year - rng.integers(1960, 2000)) / 4.0) ** 2))
        liked = np.where(genre == user % len(TOPICS), 12.0, 1.0) if taste else 1.0
        chance = near * liked
        chosen = rng.choice(count, 8, replace=False, p=chance / chance.sum())
        choices += [(f"u{user}", f"i{film:03}", 0) for film in chosen]
    titles = [
        f"{' '.join(rng.choice(TOPICS[topic].split(), 2))} ({made})"
        for topic, made in zip(genre, year, strict=True)
    ]
    return dataset(
        choices,
        items=[f"i{film:03}" for film in range(count)],
        titles=[titles[(film - shift) % count] for film in range(count)],
        categories=[f"genre {topic}" for topic in genre],
    )


def test_films_in_order_of_release_are_aligned() -> None:
    for found in both(films()):
        assert found.verdict == "aligned"
        assert found.why == ""
        assert found.shifts == 100
        assert found.shifts_as_good == 0
        assert found.observed > found.best_shifted > found.shifted


@pytest.mark.parametrize("shift", [1, 7, -50])
def test_titles_that_slipped_are_not_aligned_although_genres_are_right(shift: int) -> None:
    text, category = both(films(shift=shift))
    assert category.verdict == "aligned"
    assert text.verdict == "not aligned"
    assert text.best_shift == shift
    assert text.best_shifted > 1.3 * text.observed


def test_titles_that_slipped_beyond_the_shifts_are_no_better_than_these() -> None:
    text, _ = both(films(shift=120))
    assert text.verdict == "not aligned"
    assert text.shifts_as_good > 0 or text.p > 0.01


def test_a_year_in_the_title_aligns_nothing() -> None:
    text, category = both(films(taste=False))
    assert (text.verdict, category.verdict) == ("not aligned", "not aligned")


def test_texts_that_fit_the_order_of_the_file_and_not_the_item_are_not_aligned() -> None:
    data, rng = films(taste=False), np.random.default_rng(3)
    # Each decade has words of its own, given to films at random: wrong within the decade.
    words = [f"{chr(97 + film // 60)}{chr(97 + rng.integers(4))}x" for film in range(240)]
    titles = pa.array(words)
    items = data.items.set_column(data.items.column_names.index("title"), "title", titles)
    wrong = Dataset(data.info, items, data.interactions)
    text = text_alignment(wrong, Indexed.of(wrong), QUICK)
    assert text.p == 1 / 200  # exchanged texts alone would call it aligned
    assert text.verdict == "not aligned"
    assert "shifts of the text by 1 to 50 rows fit as well" in text.why


def test_shifts_in_a_catalogue_sorted_by_category_are_not_counted() -> None:
    data = make(faithful=True)
    order = np.argsort(np.asarray(data.items["category"]), kind="stable")
    ordered = Dataset(data.info, data.items.take(order), data.interactions)
    found = category_alignment(ordered, Indexed.of(ordered), QUICK)
    assert found.verdict == "aligned"
    assert 0 < found.shifts < 100


def test_too_little_is_not_evaluated() -> None:
    data = dataset([("u", "a", 0), ("u", "b", 0)], titles=["one", "two"])
    text, category = both(data)
    assert (text.verdict, category.verdict) == ("untested", "untested")
    assert text.why == "2 items with interactions have text; 50 are needed"
    assert category.why == "0 items with interactions have a category; 50 are needed"
    lonely = dataset([(f"u{row}", f"i{row:03}", 0) for row in range(80)], titles=["x y"] * 80)
    found = text_alignment(lonely, Indexed.of(lonely), QUICK)
    assert found.why == "0 users have two items with text; 50 are needed"


def test_a_title_that_is_the_id_is_no_text() -> None:
    choices = [
        (f"u{user}", f"word{(user + step) % 90}", 0) for user in range(90) for step in (0, 1)
    ]
    text, _ = both(dataset(choices))
    assert text.why == "0 items with interactions have text; 50 are needed"


def test_where_all_items_are_alike_nothing_can_be_tested() -> None:
    text, category = both(make(faithful=True, same_category=True))
    assert text.verdict == "aligned"
    assert category.verdict == "untested"
    assert category.why == "the sampled items do not differ in category"


def test_samples_are_as_small_as_asked_and_the_same_for_the_same_seed() -> None:
    data = make(faithful=True)
    small = Sampling(items=60, users=70, pairs=300, permutations=49, seed=4)
    text, _ = both(data, small)
    assert text.items == 60
    assert text.users <= 70
    assert text.pairs <= 300
    assert both(data, small)[0] == text
    assert both(data, Sampling(items=60, users=70, pairs=300, permutations=49, seed=5))[0] != text
