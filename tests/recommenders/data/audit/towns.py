"""A synthetic dataset: items of five topics; users choose within one topic or at random."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tests.recommenders.data.tiny import dataset

if TYPE_CHECKING:
    from recommenders.data.dataset import Dataset

TOPICS = ("sea boat harbour", "stone castle tower", "forest trail bear", "snow ski peak", "opera")
ITEMS, USERS = 150, 120


def make(
    *,
    faithful: bool,
    seed: int = 0,
    shuffle: bool = False,
    same_category: bool = False,
    users: int = USERS,
) -> Dataset:
    """Makes the dataset.

    Args:
        faithful: Users choose items of one topic three times out of four; otherwise at random.
        seed: Where chance starts.
        shuffle: Mix up which text and category belongs to which item.
        same_category: Give all items one category.
        users: Number of users.
    """
    rng = np.random.default_rng(seed)
    topic = rng.integers(0, len(TOPICS), ITEMS)
    weight = rng.permutation(1 / (1 + np.arange(ITEMS)) ** 0.5)
    choices = []
    for user in range(users):
        liked = np.where(topic == user % len(TOPICS), 12.0, 1.0) if faithful else np.ones(ITEMS)
        chance = liked * weight
        chosen = rng.choice(ITEMS, 8, replace=False, p=chance / chance.sum())
        times = rng.integers(1_000, size=8).tolist()
        choices += [
            (f"u{user}", f"i{item:03}", time) for item, time in zip(chosen, times, strict=True)
        ]
    topics = rng.permutation(topic) if shuffle else topic
    words = [TOPICS[number].split() for number in topics]
    return dataset(
        choices,
        items=[f"i{item:03}" for item in range(ITEMS)],
        titles=[f"{rng.choice(some)} number{item}" for item, some in enumerate(words)],
        descriptions=[" ".join(rng.choice(some, 2)) for some in words],
        categories=["all" if same_category else f"topic {number}, place" for number in topics],
    )
