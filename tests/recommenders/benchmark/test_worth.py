"""Verdicts on planted ranks: what a control explains is no gain from profiles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from recommenders.benchmark import worth
from recommenders.benchmark.ranks import Ranks, cells, contributions, ranks_of, read_ranks, table_of
from recommenders.benchmark.results import ModelResults
from recommenders.benchmark.run import write_table
from recommenders.benchmark.worth import gains, worths
from recommenders.evaluation import evaluate
from recommenders.significance import Spread
from tests.recommenders.evaluated import Table, part

if TYPE_CHECKING:
    from pathlib import Path

USERS, ITEMS = 200, 80


class Fixed:
    """A run with given ranks."""

    def __init__(self, validation: Ranks, test: Ranks, *, cut_off: bool) -> None:
        self.parts = {"validation": validation, "test": test}
        self.cut_off = cut_off
        self.runs = {"s": None}

    def ranks(self, scenario: str, part: str = "test") -> Ranks:
        return self.parts[part]

    def figures(self, scenario: str) -> dict[str, Any]:
        means = {name: {"ndcg@20": _mean(one)} for name, one in self.parts.items()}
        return {**means, "not_converged": self.cut_off}


def _mean(one: Ranks) -> float:
    users = np.unique(one.users, return_inverse=True)[1]
    return float(contributions(users, one.ranks, "ndcg@20")[0].sum() / len(np.unique(users)))


def planted(hit: float, *, seed: int, best_seed: int | None = None, newer: bool = False) -> Ranks:
    """Returns ranks of which a share of `hit` is in the list; in one seed alone if it is given."""
    rng = np.random.default_rng(seed)
    pairs = np.sort(rng.choice(USERS * ITEMS, 2000, replace=False))
    draws = rng.random(2000)
    share = hit if best_seed in {None, seed} else 0.3
    return Ranks(
        users=np.array([f"u{pair // ITEMS:03}" for pair in pairs]),
        items=np.array([f"i{pair % ITEMS:03}" for pair in pairs]),
        ranks=np.where(draws < share, 1 + rng.integers(0, 20, 2000), 0),
        newer=np.array([newer and pair % ITEMS < 20 for pair in pairs]),
        clicks=np.full(2000, 5),
    )


def row(
    hit: float,
    variant: str | None = "augmented",
    control: Any = None,
    *,
    seeds: int = 3,
    validation: float | None = None,
    cut_off: int | None = None,
    **options: Any,
) -> ModelResults:
    """Returns a row with that share of hits; the pairs and draws of a seed are the same for all rows."""
    chosen = {
        seed: Fixed(
            planted(hit if validation is None else validation, seed=seed, **options),
            planted(hit, seed=seed, **options),
            cut_off=seed == cut_off,
        )
        for seed in range(seeds)
    }
    label = f"m {variant}" + ("" if control is None else f": {control}")
    of = None if control is None else "m augmented"
    return ModelResults(label, "m", variant, chosen, None, control, of)  # type: ignore[arg-type]  # only ranks and figures are read


@pytest.mark.parametrize(
    ("text", "popularity", "profile", "verdict"),
    [
        (0.3, 0.3, 0.5, "worth"),
        (0.3, 0.4, 0.5, "worth"),
        (0.3, 0.5, 0.5, "explained by text + popularity guessed from the profile's words"),
        (0.3, 0.6, 0.5, "explained by text + popularity guessed from the profile's words"),
        (0.3, 0.3, 0.3, "nothing shown"),
        (0.5, 0.3, 0.3, "**harm**"),
    ],
)
def test_a_gain_that_a_control_explains_is_none(
    text: float, popularity: float, profile: float, verdict: str
) -> None:
    table = [
        row(0.2, "base"),
        row(profile),
        row(text, control="text"),
        row(popularity, control="popularity"),
    ]
    (found,) = worths(table, "s", "ndcg@20")
    assert found.verdict == verdict
    assert found.tests == 2


def test_the_best_control_is_chosen_on_validation() -> None:
    table = [
        row(0.5),
        row(0.3, control="text", validation=0.6),
        row(0.7, control="popularity", validation=0.2),
    ]
    (found,) = worths(table, "s", "ndcg@20")
    assert found.best == "text"
    assert found.verdict == "worth"


def test_a_base_row_that_is_best_counts_as_known_without_profiles() -> None:
    (found,) = worths([row(0.6, "base"), row(0.5), row(0.3, control="text")], "s", "ndcg@20")
    assert found.best == "m base"
    assert found.verdict == "explained by m base"


def test_a_difference_of_one_seed_is_no_verdict() -> None:
    table = [row(0.9, best_seed=1), row(0.3, control="text", best_seed=1)]
    (found,) = worths(table, "s", "ndcg@20")
    assert found.marginal is not None
    assert found.marginal.difference > 0.05
    assert found.verdict == "nothing shown"


@pytest.mark.parametrize("which", ["profile", "text", "base"])
def test_a_training_that_was_cut_off_decides_nothing(which: str) -> None:
    table = [
        row(0.2, "base", cut_off=2 if which == "base" else None),
        row(0.5, cut_off=2 if which == "profile" else None),
        row(0.3, control="text", cut_off=2 if which == "text" else None),
    ]
    (found,) = worths(table, "s", "ndcg@20")
    assert found.verdict == "not converged"


def test_one_seed_and_no_control_decide_nothing() -> None:
    (found,) = worths([row(0.5, seeds=1), row(0.3, control="text", seeds=1)], "s", "ndcg@20")
    assert found.verdict == "one seed decides nothing"
    (found,) = worths([row(0.5), row(0.3, "base")], "s", "ndcg@20")
    assert found.verdict == "no control, no verdict"
    (found,) = worths([row(0.5)], "s", "ndcg@20")
    assert (found.marginal, found.verdict) == (None, "no control, no verdict")


def test_a_row_that_is_not_better_on_validation_falls_back_to_texts() -> None:
    text = row(0.4, control="text")
    for hit, validation, kept in ((0.2, 0.3, 0.0), (0.6, 0.6, None), (0.2, 0.4, 0.0)):
        one = row(hit, validation=validation)
        (found,) = worths([one, text], "s", "ndcg@20")
        assert found.gated is not None
        assert found.over_text is not None
        wanted = found.over_text.difference if kept is None else kept
        assert found.gated.difference == pytest.approx(wanted)


def test_newer_items_are_compared_apart() -> None:
    table = [row(0.5, newer=True), row(0.3, control="text", newer=True)]
    (found,) = worths(table, "s", "ndcg@20")
    assert found.newer is not None
    assert found.newer.items == 20
    assert found.newer.difference > 0
    (found,) = worths([row(0.5), row(0.3, control="text")], "s", "ndcg@20")
    assert found.newer is None


def test_a_row_can_be_tested_against_any_other() -> None:
    ours = ModelResults("ours", "n", None, row(0.5).chosen, "m augmented")
    (found,) = gains([row(0.3), ours], "s", "ndcg@20")
    assert found.name == "ours, against m augmented"
    assert found.chance.difference > 0
    assert found.p < 0.05
    assert gains([ours], "s", "ndcg@20") == []


def test_p_is_adjusted_for_all_comparisons_of_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    table = [row(0.32), row(0.3, control="text"), row(0.31, control="popularity")]
    (found,) = worths(table, "s", "ndcg@20")
    assert found.marginal is not None
    assert found.over_text is not None
    monkeypatch.setattr(worth, "holm", lambda p: np.array(p) * 0 + 0.5)
    (other,) = worths(table, "s", "ndcg@20")
    assert (other.p, other.p_over_text) == (0.5, 0.5)
    assert found.p >= found.marginal.p


SCORES = np.array([[9, 8, 7, 6, 5, 4], [1, 2, 3, 4, 5, 6]], np.float32)
PART = part([[0], [5]], [[1, 5], [0, 1, 4]], 6)


def test_ranks_are_those_of_the_list(tmp_path: Path) -> None:
    found = evaluate(Table(SCORES), PART, cutoffs=[2, 4])
    users, items, ranks = ranks_of(found, PART)
    assert users.tolist() == [0, 0, 1, 1, 1]
    assert items.tolist() == [1, 5, 0, 1, 4]
    # Of user 0 the list is 1, 2, 3, 4; of user 1 it is 4, 3, 2, 1.
    assert ranks.tolist() == [1, 0, 0, 4, 1]
    for metric in ("ndcg@2", "ndcg@4", "recall@2", "recall@4"):
        gain, share = contributions(users, ranks, metric)
        np.testing.assert_allclose(np.bincount(users, gain), found.values[metric])
        np.testing.assert_allclose(np.bincount(users, share), 1)
    with pytest.raises(ValueError, match="no sum over relevant items"):
        contributions(users, ranks, "mrr@2")
    names = {"user_ids": ["b", "a"], "item_ids": [f"i{row}" for row in range(6)]}
    late = np.array([True, False, False, False, False, False])
    table = table_of(found, PART, scenario="s", name="test", newer=late, **names)
    write_table(table, tmp_path / "ranks.parquet")
    read = read_ranks(tmp_path / "ranks.parquet", "s", "test")
    assert read.users.tolist() == ["a", "a", "a", "b", "b"]
    assert read.items.tolist() == ["i0", "i1", "i4", "i1", "i5"]
    assert read.ranks.tolist() == [0, 4, 1, 1, 0]
    assert read.newer.tolist() == [True, False, False, False, False]
    assert read.clicks.tolist() == [1] * 5
    assert not len(read_ranks(tmp_path / "ranks.parquet", "s", "validation").users)


def test_only_what_both_have_is_compared() -> None:
    first, second = planted(0.5, seed=1), planted(0.3, seed=1)
    fewer = second.only(second.users != "u003")
    found = cells({1: first, 2: first}, {1: fewer, 3: second}, "ndcg@20")
    assert found is not None
    assert len(found.users) == (first.users != "u003").sum()
    assert found.seeds.max() == 0
    assert cells({1: first}, {2: second}, "ndcg@20") is None


def test_the_mean_over_cells_is_the_mean_over_users_of_the_metric() -> None:
    new, old = row(0.5), row(0.3, control="text")
    found = worth.difference(new, old, "s", "ndcg@20")
    assert found is not None
    expected = [
        Spread.of([run.figures("s")["test"]["ndcg@20"] for run in one.chosen.values()]).mean
        for one in (new, old)
    ]
    assert found.difference == pytest.approx(expected[0] - expected[1], abs=1e-3)
    assert (found.users, found.items, found.seeds) == (USERS, ITEMS, 3)
