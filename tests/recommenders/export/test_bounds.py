"""By how much profiles may be worse than none, from a planted model to the service's scorer."""

from __future__ import annotations

import functools
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy import sparse

from recommenders.data.split import Part, Scenario
from recommenders.export.bounds import LEAST_USERS, profile_bounds
from recommenders.export.bundle import write_bundle
from recommenders.export.trained import Provenance, Trained
from recommenders.models.terms import FactorTerms, NewUser
from services.profiles.domain.profile import Component, ProfileVersion
from services.profiles.scoring.scorer import open_scorer
from services.profiles.scoring.values import Question
from tests.recommenders.models.worlds import World, fitted, world

if TYPE_CHECKING:
    from pathlib import Path

    from recommenders.models.base import Inputs

OPTIONS: dict[str, Any] = {"variant": "augmented", "factors": 8, "draws": 3}
VERSION = ProfileVersion(
    Component("base", "1"), None, Component("prompt", "2"), Component("e", "h")
)


@functools.cache
def here() -> World:
    return world(blocks=4, cold_items=0, cold_users=20)


def scenario(*, lie: bool) -> tuple[Inputs, Scenario]:
    """Returns inputs, and new users who have chosen one item and look for others of its block.

    Their profiles speak of their own block, or of another if they lie.
    """
    found = here()
    profiles = found.inputs.user_profiles
    assert profiles is not None
    if lie:
        others = np.roll(found.cold_users, 20)
        profiles = profiles.copy()
        profiles[found.cold_users] = profiles[others]
    known = np.zeros(found.inputs.train.shape, np.float32)
    relevant = known.copy()
    for place, user in enumerate(found.cold_users.tolist()):
        mine = np.flatnonzero(found.item_blocks == found.user_blocks[user])
        known[user, mine[place % len(mine)]] = 1
        relevant[user, np.delete(mine, place % len(mine))] = 1
    part = Part(known=sparse.csr_array(known), relevant=sparse.csr_array(relevant))
    return replace(found.inputs, user_profiles=profiles), Scenario(part, part)


class Believing:
    """A model that believes a profile three times as much as a click."""

    def __init__(self) -> None:
        found = here()
        self.items = np.eye(4, dtype=np.float32)[found.item_blocks]
        profiles = found.inputs.user_profiles
        assert profiles is not None
        blocks = np.eye(4, dtype=np.float32)[found.user_blocks]
        self.map = 3 * np.linalg.lstsq(profiles, blocks, rcond=None)[0].astype(np.float32)

    def new_user_scores(
        self, known: sparse.csr_array, profiles: np.ndarray | None = None
    ) -> np.ndarray:
        vectors = known @ self.items
        return (vectors if profiles is None else vectors + profiles @ self.map) @ self.items.T

    def terms(self) -> FactorTerms:
        user, n_items = NewUser.inputs(), len(self.items)
        return FactorTerms(
            item_vectors=self.items,
            item_bias=np.zeros(n_items, np.float32),
            history_vectors=self.items,
            user_vectors=np.zeros((here().inputs.n_users, 4), np.float32),
            tower=user.pooled + (user.profile @ self.map) * user.has_profile + user.count * 0,
            profile_dimension=len(self.map),
        )


def bounds(*, lie: bool) -> tuple[Any, dict[str, Any]]:
    inputs, asked = scenario(lie=lie)
    model = Believing()
    found = profile_bounds(model, inputs, {"cold-users": asked}, of_items=False)
    assert found is not None
    return model, found


def of(found: dict[str, Any], clicks: int, items: str) -> dict[str, Any]:
    (one,) = (s for s in found["segments"] if (s["clicks"], s["items"]) == (clicks, items))
    return dict(one)


def test_profiles_that_lie_have_a_low_bound_where_they_were_seen() -> None:
    _, lies = bounds(lie=True)
    assert [(s["clicks"], s["items"]) for s in lies["segments"]] == [
        (clicks, items) for clicks in (0, 1, 2, 3, 6, 11) for items in ("warm", "cold")
    ]
    one = of(lies, 1, "warm")
    assert one["users"] == 80
    assert one["low"] <= one["difference"] <= one["high"] < 0
    for clicks, items in ((1, "cold"), (0, "warm"), (3, "warm")):
        assert of(lies, clicks, items) | {"clicks": 0, "items": ""} == {
            "clicks": 0,
            "items": "",
            "users": 0,
            "difference": None,
            "low": None,
            "high": None,
        }
    _, truth = bounds(lie=False)
    assert of(truth, 1, "warm")["low"] > -truth["margin"]


def test_of_few_users_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    assert LEAST_USERS < 80
    monkeypatch.setattr("recommenders.export.bounds.LEAST_USERS", 81)
    _, found = bounds(lie=True)
    assert of(found, 1, "warm")["users"] == 80
    assert of(found, 1, "warm")["low"] is None


def test_of_means_of_items_fewer_clicks_are_shown_too() -> None:
    found = here()
    users = np.setdiff1d(np.arange(found.inputs.n_users), found.cold_users)
    relevant = np.zeros(found.inputs.train.shape, np.float32)
    relevant[users, found.withheld[users]] = 1
    part = Part(known=found.inputs.train, relevant=sparse.csr_array(relevant))
    model = fitted("linear_tower", found.inputs, OPTIONS | {"new_user_profiles": "items"})
    shown = profile_bounds(model, found.inputs, {"warm": Scenario(part, part)}, of_items=True)
    assert shown is not None
    assert [of(shown, clicks, "warm")["users"] for clicks in (0, 1, 2, 3, 6, 11)] == [
        0,
        *[len(users)] * 4,
        0,
    ]
    own = profile_bounds(model, found.inputs, {"warm": Scenario(part, part)}, of_items=False)
    assert own is not None
    assert of(own, 1, "warm")["users"] == 0


def test_a_model_without_users_profiles_has_no_bounds() -> None:
    inputs, asked = scenario(lie=False)
    for name, options in (("linear_tower", {"factors": 8}), ("ease", {}), ("popularity", {})):
        model = fitted(name, inputs, options)
        assert profile_bounds(model, inputs, {"s": asked}, of_items=False) is None


@pytest.mark.parametrize("lie", [True, False])
def test_the_service_leaves_out_profiles_that_did_harm(tmp_path: Path, lie: bool) -> None:
    model, found = bounds(lie=lie)
    inputs = here().inputs
    trained = Trained(
        model=model,
        provenance=Provenance(
            model={"name": "linear_tower", "options": {}},
            dataset={"name": "blocks", "fingerprint": "0"},
            split={"name": "none", "fingerprint": "0"},
            encoder={"name": "e", "hash": "h"},
            profiles=None,
            user_profiles="own",
            seed=1,
            metrics={},
            gate=found,
        ),
        item_ids=[f"i{row}" for row in range(inputs.n_items)],
        user_ids=[f"u{row}" for row in range(inputs.n_users)],
        train=inputs.train,
    )
    folder = write_bundle(trained, tmp_path / "bundles").folder
    manifest = json.loads((folder / "manifest.json").read_bytes())
    assert manifest["format"] == 2
    assert manifest["gate"] == found
    scorer = open_scorer(folder, VERSION)
    assert inputs.user_profiles is not None
    profile = inputs.user_profiles[0]

    def asked(clicks: tuple[int, ...], given: np.ndarray | None) -> dict[str, float]:
        question = Question(
            user=None,
            clicks=clicks,
            profile=given,
            interests=None,
            exclude=(),
            candidates=None,
            k=inputs.n_items,
            reasons=False,
        )
        return {item.item_id: item.score for item in scorer.rank(question).items}

    # At one click, where it was measured, what lies is left out; where it was not, it stays.
    for clicks, left_out in (((3,), lie), ((3, 4, 5), False), ((), False)):
        same = asked(clicks, profile) == asked(clicks, None)
        assert same == left_out
