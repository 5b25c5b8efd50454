"""The contract of a reward by rule, over every entry of the registry."""

from __future__ import annotations

import pytest

from tests.training.rewards.test_rules import GOOD, ROW, SURPLUS
from training.rewards.registry import RULES, RewardWeights

ANSWERS = [
    GOOD,
    SURPLUS,
    "",
    ".",
    "\ufffd\n{}",
    "User identity: ; User interests: .",
    "word " * 500,
]


@pytest.mark.parametrize("name", RULES)
def test_each_answer_gets_a_number_between_nought_and_one(name: str) -> None:
    found = RULES[name]([ROW] * len(ANSWERS), ANSWERS)
    assert len(found) == len(ANSWERS)
    assert all(isinstance(number, float) and 0 <= number <= 1 for number in found), found
    assert len(set(found)) > 1, "a reward that every answer gets"


@pytest.mark.parametrize("name", RULES)
def test_an_answer_s_reward_depends_on_no_other_answer(name: str) -> None:
    rule = RULES[name]
    together = rule([ROW] * len(ANSWERS), ANSWERS)
    assert together == [rule([ROW], [answer])[0] for answer in ANSWERS]
    assert rule([], []) == []


@pytest.mark.parametrize("name", RULES)
def test_an_empty_answer_gets_nothing(name: str) -> None:
    assert RULES[name]([ROW], [""]) == [0.0]


@pytest.mark.parametrize("name", RULES)
def test_rows_and_answers_have_to_be_as_many(name: str) -> None:
    with pytest.raises(ValueError, match="zip"):
        RULES[name]([ROW], [GOOD, GOOD])


def test_each_reward_has_a_weight() -> None:
    assert set(RewardWeights.model_fields) == {"model", *RULES}
