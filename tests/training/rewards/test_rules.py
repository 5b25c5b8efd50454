from __future__ import annotations

import pytest

from training.data.rows import PolicyRow, Turn
from training.rewards.registry import RewardWeights, chosen, grammar, grounded, length, unlike
from training.rewards.rules import grounded_share, is_well_formed, read_profile, similarity, stems

GOOD = (
    "User identity: robot film devotee, rainy city walker, quiet thinker; "
    "User interests: artificial minds, lonely detectives, slow horror."
)
SURPLUS = GOOD.replace("quiet thinker;", "quiet thinker, night owl type;")
LINES = ("Robotics (1999) | Horror, Sci-Fi", "The Detective (1968) | Crime")
ROW = PolicyRow(
    id="1",
    prompt=(Turn(role="user", content="Items:\n- " + "\n- ".join(LINES)),),
    lines=LINES,
    neighbours=(GOOD, "User identity: a b, c d, e f; User interests: g h, i j, k l."),
)


def test_words_are_told_apart_from_words_that_every_profile_has() -> None:
    assert stems("The film lover of robotics") == {"robot"}
    assert stems("Film fans") == frozenset()


def test_the_grounded_share_counts_phrases_with_a_word_of_the_history() -> None:
    profile = read_profile("user", GOOD)
    assert profile is not None
    # robot ~ Robotics, detectives ~ Detective, horror ~ Horror: three phrases of six.
    assert grounded_share(profile, LINES) == pytest.approx(3 / 6)
    assert grounded_share(profile, ["Nothing of the kind"]) == 0


def test_similarity_is_that_of_the_most_similar_text() -> None:
    assert similarity("quiet robots", ["golden rivers", "quiet rivers"]) == pytest.approx(1 / 3)
    assert similarity("quiet robots", ["Robots, quiet"]) == 1
    assert similarity("quiet robots", []) == 0


def test_form_is_rewarded_whole_or_half() -> None:
    assert grammar([ROW] * 3, [GOOD, SURPLUS, "."]) == [1.0, 0.5, 0.0]
    assert is_well_formed("user", f"  {GOOD}\n")
    assert not is_well_formed("item", GOOD)


def test_rules_give_nothing_for_what_is_no_profile() -> None:
    assert grounded([ROW], ["robots and detectives"]) == [0.0]
    assert unlike([ROW], ["something else altogether"]) == [0.0]


def test_a_neighbours_profile_earns_nothing_for_being_unlike() -> None:
    other = GOOD.replace("robot film devotee", "golden river sailor")
    same, near = unlike([ROW, ROW], [GOOD, other])
    assert same == 0
    assert 0 < near < 1


def test_length_is_rewarded_within_bounds() -> None:
    answers = ["word " * count for count in (0, 6, 12, 40, 60, 80, 200)]
    assert length([ROW] * 7, answers) == [0.0, 0.5, 1.0, 1.0, 0.5, 0.0, 0.0]


def test_a_reward_of_weight_nought_is_not_computed() -> None:
    weights = RewardWeights(model=0, grammar=1, grounded=0, unlike=0.5, length=0)
    assert [(name, weight) for name, _, weight in chosen(weights, None)] == [
        ("grammar", 1.0),
        ("unlike", 0.5),
    ]
