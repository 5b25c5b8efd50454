"""Chance over users, items and seeds together, on planted differences."""

from __future__ import annotations

import numpy as np
import pytest

from recommenders.crossed import Cells, compare, standard_error


def planted(
    rng: np.random.Generator,
    *,
    mean: float = 0.0,
    users: int = 60,
    items: int = 40,
    seeds: int = 3,
    deviations: tuple[float, float, float, float] = (0.3, 0.3, 0.3, 0.3),
) -> Cells:
    """Returns cells with an effect of each user, item and seed, and noise; all are about `mean`."""
    of_user, of_item, of_seed, noise = deviations
    chosen = rng.random((users, items)) < 0.2
    chosen[np.arange(users), rng.integers(0, items, users)] = True
    effects = of_user * rng.standard_normal((users, 1)) + of_item * rng.standard_normal((1, items))
    cells = []
    for seed in range(seeds):
        shift = of_seed * rng.standard_normal()
        values = mean + effects + shift + noise * rng.standard_normal((users, items))
        where = np.nonzero(chosen)
        share = 1 / chosen.sum(axis=1)[where[0]]
        cells.append((*where, np.full(len(share), seed), share, values[where] * share))
    columns = [np.concatenate(each) for each in zip(*cells, strict=True)]
    return Cells(
        **dict(zip(("users", "items", "seeds", "shares", "differences"), columns, strict=True))
    )


@pytest.mark.parametrize(
    "deviations",
    [(0.3, 0.3, 0.3, 0.3), (0.0, 0.5, 0.0, 0.3), (0.0, 0.0, 0.5, 0.3), (0.5, 0.1, 0.0, 0.3)],
    ids=["all", "items", "seeds", "users"],
)
def test_the_interval_covers_what_was_planted_about_as_often_as_it_says(
    deviations: tuple[float, float, float, float],
) -> None:
    rng = np.random.default_rng(1)
    repetitions, covered = 200, 0
    for number in range(repetitions):
        cells = planted(rng, mean=0.1, deviations=deviations)
        low, high = compare(cells, seed=number, rounds=200).interval()
        covered += low <= 0.1 <= high
    # Of 200 with a chance of .95, fewer than 181 have a chance of .2 %. Owen's bootstrap is conservative.
    assert 181 <= covered <= 200


def test_users_alone_would_cover_far_less() -> None:
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(100):
        cells = planted(rng, mean=0.1, deviations=(0.0, 0.5, 0.0, 0.3))
        values = np.bincount(cells.users, cells.differences) / 3
        reach = 2 * values.std(ddof=1) / len(values) ** 0.5
        covered += abs(values.mean() - 0.1) <= reach
    assert covered < 75


def test_a_difference_of_one_seed_is_none() -> None:
    rng = np.random.default_rng(0)
    cells = planted(rng, deviations=(0.05, 0.05, 0.0, 0.05), users=300)
    moved = cells.differences + 0.3 * cells.shares * (cells.seeds == 1)
    found = compare(Cells(**{**_of(cells), "differences": moved}))
    assert found.difference == pytest.approx(0.1, abs=0.02)
    assert found.p > 0.2
    assert found.freedom < 3
    everywhere = cells.differences + 0.1 * cells.shares
    assert compare(Cells(**{**_of(cells), "differences": everywhere})).p < 1e-4


def test_a_difference_of_one_item_is_none() -> None:
    rng = np.random.default_rng(0)
    cells = planted(rng, deviations=(0.05, 0.02, 0.0, 0.05), users=300)
    liked = cells.items == 7
    moved = cells.differences + cells.shares * liked * (
        0.1 * cells.shares.sum() / cells.shares[liked].sum()
    )
    found = compare(Cells(**{**_of(cells), "differences": moved}))
    assert found.difference == pytest.approx(0.1, abs=0.02)
    assert found.p > 0.2


def test_the_error_is_that_of_the_mean_where_only_users_differ() -> None:
    rng = np.random.default_rng(0)
    values = rng.standard_normal(400)
    cells = Cells(
        users=np.arange(400),
        items=np.arange(400),
        seeds=np.zeros(400, np.int64),
        shares=np.ones(400),
        differences=values,
    )
    # Each user has an item of their own: both factors are the same 400 draws, and their product varies three times.
    classic = values.std(ddof=1) / 20
    assert compare(cells, rounds=4000).error == pytest.approx(3**0.5 * classic, rel=0.05)
    assert standard_error(cells) == pytest.approx(2**0.5 * classic, rel=1e-9)


def test_resamples_depend_on_the_seed_alone() -> None:
    cells = planted(np.random.default_rng(0))
    assert compare(cells) == compare(cells)
    assert compare(cells, seed=1).error != compare(cells).error
    assert compare(cells, seed=1).error == pytest.approx(compare(cells).error, rel=0.1)


def test_the_same_difference_everywhere_has_no_error() -> None:
    cells = planted(np.random.default_rng(0), mean=0.25, deviations=(0, 0, 0, 0))
    found = compare(cells)
    assert found.difference == pytest.approx(0.25)
    assert (found.error, found.p, found.showable()) == (0, 0, 0)
    nothing = compare(Cells(**{**_of(cells), "differences": np.zeros(len(cells.users))}))
    assert (nothing.difference, nothing.p) == (0, 1)


def test_what_can_be_shown_is_shown_four_times_in_five() -> None:
    rng = np.random.default_rng(2)
    deviations = 0.0, 0.3, 0.0, 0.3
    drawn = [compare(planted(rng, deviations=deviations), rounds=200) for _ in range(30)]
    true = float(np.mean([one.showable() for one in drawn]))
    shown = [
        compare(planted(rng, mean=true, deviations=deviations), rounds=200).p < 0.05
        for _ in range(100)
    ]
    assert 70 <= sum(shown) <= 95
    one = compare(planted(rng, deviations=deviations))
    assert one.showable(10) > 1.2 * one.showable(1)


def test_too_little_to_compare_is_refused() -> None:
    one = np.zeros(1, np.int64)
    cells = Cells(users=one, items=one, seeds=one, shares=np.ones(1), differences=np.ones(1))
    with pytest.raises(ValueError, match="at least two users, not of 1"):
        compare(cells)


def _of(cells: Cells) -> dict[str, np.ndarray]:
    return {
        name: getattr(cells, name) for name in ("users", "items", "seeds", "shares", "differences")
    }
