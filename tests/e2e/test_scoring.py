"""From training to `/score`: a new user with two clicks, and how more clicks change the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from reclm_client import Event, Item, ReclmClient, Unavailable
from tests.e2e.conftest import command
from tests.support.bundles import wait_for_scorer
from tests.support.servers import Service
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from reclm_client import Score
    from tests.e2e.conftest import Profiled

pytestmark = [pytest.mark.stack, pytest.mark.model, pytest.mark.timeout(600)]

GRID = """
name: MovieLens, in small
dataset: small
split: {kind: cold-items, share: 0.3, warm: 0.1}
seeds: [1]
profiles: profiles
scenario: warm
training: {max_steps: 400, learning_rate: 0.01}
models:
  - {name: lightgcn, options: {variant: augmented, user_dropout: 0.3}}
"""


@pytest.fixture
def bundles(tmp_path: Path) -> Path:
    return tmp_path / "bundles"


@pytest.fixture
def scoring(
    service_env: dict[str, str], vllm_url: str, bundles: Path, tmp_path: Path
) -> Iterator[Service]:
    """A service with two workers and a tenant of its own."""
    own = {"RECLM_TENANT": "scoring", "RECLM_BUNDLES": str(bundles), "RECLM_VLLM_URL": vllm_url}
    running = Service(
        tmp_path, workers=2, env={**service_env, **own, "RECLM_REFRESH_QUIET_S": "0.3"}
    )
    running.start()
    yield running
    running.process.stop()


def test_a_new_user_gets_items_with_reasons_and_more_clicks_change_them(
    profiled: Profiled, scoring: Service, bundles: Path, tmp_path: Path
) -> None:
    grid = tmp_path / "grid.yaml"
    grid.write_text(GRID)
    trained = command("train", grid, "--data", profiled.folder, "--out", tmp_path / "model")
    assert trained.returncode == 0, trained.stderr
    exported = command("export", tmp_path / "model", "--out", bundles)
    assert exported.returncode == 0, exported.stderr

    with ReclmClient(scoring.url) as client:
        rows = profiled.dataset.items.select(["item_id", "title", "category"]).to_pylist()
        films = [Item(row["item_id"], row["title"], row["category"] or "") for row in rows]
        assert all(row.error is None for row in client.put_items(films))
        with pytest.raises(Unavailable, match="activate"):
            client.score("ann", history=[films[0].id])
        (bundle,) = client.scorers()
        assert bundle.refused is None
        client.activate_scorer(bundle.name)
        wait_for_scorer(scoring.url)

        clicks = [film.id for film in films[:2]]
        client.add_interactions([Event("ann", id_) for id_ in clicks])
        first = client.score("ann", k=10)
        assert_sound(first, bundle.name, clicks)

        before = client.get_profile("user", "ann").text
        later = [film.id for film in films[30:36]]
        client.add_interactions([Event("ann", id_) for id_ in later])
        eventually(lambda: client.get_profile("user", "ann").text != before, timeout_s=240)
        second = client.score("ann", k=10)
        assert_sound(second, bundle.name, clicks + later)
        assert [item.item_id for item in second.items] != [item.item_id for item in first.items]


def assert_sound(score: Score, scorer: str, clicks: list[str]) -> None:
    """The answer is by this bundle and for these clicks, and every reason is one of the user's."""
    assert (score.scorer, score.known_by, score.ignored) == (scorer, "history", ())
    assert score.profile is not None
    assert score.profile.status in {"generated", "cached"}
    ids = [item.item_id for item in score.items]
    assert len(set(ids)) == 10
    assert not set(ids) & set(clicks)
    assert [item.score for item in score.items] == sorted(
        (item.score for item in score.items), reverse=True
    )
    named_clicks, named_interests = set(), set()
    for item in score.items:
        assert item.reasons is not None
        assert item.reasons.interests is not None
        past, interests = item.reasons.history, item.reasons.interests
        assert all(reason.contribution > 0 for reason in (*past, *interests))
        named_clicks.update(reason.item_id for reason in past)
        named_interests.update(reason.phrase for reason in interests)
    assert named_clicks
    assert named_clicks <= set(clicks)
    assert named_interests <= set(score.profile.interests)
