"""Paired tests of two rows of a table over users."""

from __future__ import annotations

from dataclasses import replace

import pytest

from recommenders.benchmark.results import ModelResults, compare, gains


class Fixed:
    """A run with given values of users."""

    def __init__(self, values: dict[str, float]) -> None:
        self.values = values

    def users(self, scenario: str, metric: str) -> dict[str, float]:
        return self.values


def results(variant: str, *seeds: dict[str, float], model: str = "m") -> ModelResults:
    chosen = {seed: Fixed(values) for seed, values in enumerate(seeds)}
    return ModelResults(f"{model} {variant}", model, variant, chosen)  # type: ignore[arg-type]  # of a run, only its users' values are read


def test_models_are_compared_user_by_user_over_the_seeds_that_both_have() -> None:
    base = results("base", {"a": 0.0, "b": 0.5, "only": 1.0}, {"a": 0.2, "c": 0.1})
    augmented = results("augmented", {"a": 0.4, "b": 0.5}, {"a": 0.2, "c": 0.4})
    comparison = compare(augmented, base, "s", "m")
    # a: (.4 - 0 + 0) / 2 = .2, b: 0, c: .3.
    assert (comparison.n, comparison.difference) == (3, pytest.approx(0.5 / 3))


def test_p_is_adjusted_for_all_models_of_a_table() -> None:
    users = {f"u{number}": 0.01 * number for number in range(30)}
    better = {
        user: value + 0.1 + 0.05 * (number % 3)
        for number, (user, value) in enumerate(users.items())
    }
    same = {
        user: value + 0.05 * (-1) ** number for number, (user, value) in enumerate(users.items())
    }
    table = [
        results("base", users, model="a"),
        results("augmented", better, model="a"),
        results("base", users, model="b"),
        results("augmented", same, model="b"),
        results("augmented", same, model="no base"),
    ]
    first, second = gains(table, "s", "m")
    assert (first.name, second.name) == ("a", "b")
    assert first.p == pytest.approx(2 * first.comparison.p)
    assert first.p < 1e-6
    assert second.p > 0.9


def test_a_row_can_be_tested_against_any_other() -> None:
    users = {f"u{number}": 0.01 * number for number in range(30)}
    better = {user: value + 0.1 for user, value in users.items()}
    ours = replace(results("augmented", better, model="ours"), against="a augmented")
    table = [results("base", users, model="ours"), results("augmented", users, model="a"), ours]
    (gain,) = gains(table, "s", "m")
    assert gain.name == "ours augmented, against a augmented"
    assert gain.comparison.difference == pytest.approx(0.1)
