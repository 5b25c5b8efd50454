"""The gate of profiles: a model with profiles begins as the one without."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from recommenders.models.gates import SEGMENTS, Gate, segment_of
from recommenders.models.registry import build
from tests.recommenders.models.worlds import fitted, world

HERE = world(blocks=3, cold_items=2, cold_users=2)
USERS = np.arange(HERE.inputs.n_users)


def scores(model: Any) -> np.ndarray:
    return np.asarray(model.scores(USERS, HERE.known(USERS)))


@pytest.mark.parametrize("name", ["bias_mf", "lightgcn", "ncf"])
def test_an_untrained_model_reads_no_profile(name: str) -> None:
    inputs = replace(HERE.inputs, item_profiles=-HERE.inputs.item_profiles)
    first, other = (
        build(name, each, {"variant": "augmented"}, np.random.default_rng(0))
        for each in (HERE.inputs, inputs)
    )
    np.testing.assert_array_equal(scores(first), scores(other))


def test_a_trained_model_with_a_scale_of_0_reads_no_profile() -> None:
    model: Any = fitted("lightgcn", HERE.inputs, {"variant": "augmented"})
    known, profiles = HERE.known(HERE.cold_users), HERE.inputs.user_profiles[HERE.cold_users]
    whole = model.new_user_scores(known, profiles)
    assert np.abs(whole - model.new_user_scores(known)).max() > 1e-3
    assert model.profile_scales[-1] == 0
    model.set_profile_scale(0.0)
    bare = model.new_user_scores(known, profiles)
    np.testing.assert_array_equal(bare, model.new_user_scores(known))
    # The items' part is left out, too.
    assert np.abs(bare - whole).max() > 1e-3
    model.set_profile_scale(1.0)
    np.testing.assert_array_equal(model.new_user_scores(known, profiles), whole)
    assert fitted("lightgcn", HERE.inputs, {"variant": "base"}).profile_scales == ()


def opened(clicks: list[int]) -> Gate:
    gate = Gate(np.array(clicks))
    with torch.no_grad():
        gate.of_users.copy_(torch.tensor([1.0, 1.1, 1.2, 1.3, 1.4, 1.5]) / 4)
    return gate


def test_segments_are_those_of_the_manifest() -> None:
    clicks = np.array([0, 1, 2, 3, 5, 6, 10, 11, 500])
    assert segment_of(clicks).tolist() == [0, 1, 2, 3, 3, 4, 4, 5, 5]
    assert len(SEGMENTS) == 6


def test_a_gate_shrinks_with_few_clicks_and_is_closed_for_a_missing_profile() -> None:
    profiles = torch.ones((4, 3))
    profiles[3] = 0
    with torch.no_grad():
        gates = opened([1, 2, 3, 6, 11]).users(profiles, np.array([0, 1, 100, 100]))[:, 0]
    # Nobody in training has no clicks: that segment has the gate of the next.
    torch.testing.assert_close(gates, torch.tensor([1.1 / 2, 1.1 * 2 / 3, 1.5 * 101 / 102, 0]))


def test_a_segment_without_training_users_has_the_gate_of_the_nearest_with() -> None:
    profiles = torch.ones((6, 3))
    with torch.no_grad():
        gates = opened([0, 2, 2, 20]).users(profiles, np.array(SEGMENTS))[:, 0]
    credible = (torch.tensor(SEGMENTS) + 1) / (torch.tensor(SEGMENTS) + 2)
    torch.testing.assert_close(gates / credible, torch.tensor([1.2, 1.2, 1.2, 1.2, 1.5, 1.5]))
    with torch.no_grad():
        assert not opened([0, 0]).users(profiles, np.array(SEGMENTS)).any()


def test_only_the_gate_of_the_segment_of_training_is_trained() -> None:
    model: Any = fitted("bias_mf", HERE.inputs, {"variant": "augmented"})  # all have 7 clicks
    moved = model.fusion.gate.of_users.detach().numpy() != 0
    assert moved.tolist() == [False, False, False, False, True, False]
