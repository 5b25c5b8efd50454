"""POST /score on a real Redis, with a bundle whose scores can be worked out by hand."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import TYPE_CHECKING, Any

import pytest

from services.profiles.domain.profile import ProfileKey
from services.profiles.scoring import scorer as scorers
from services.profiles.stores.base import Event
from services.profiles.stores.redis import keys
from services.profiles.stores.redis.client import RedisClient
from services.profiles.stores.redis.interactions import RedisInteractions
from tests.support.asgi import running
from tests.support.bundles import little_weights

if TYPE_CHECKING:
    import httpx

    from services.profiles.scoring.values import Question, Ranking
    from services.profiles.settings import Settings
    from tests.support.bundles import Made
    from tests.support.model_server import ModelServer

pytestmark = [pytest.mark.anyio, pytest.mark.stack]

HEAT = {"id": "a", "title": "Heat (1995)", "category": "Crime"}
ALIEN = {"id": "c", "title": "Alien (1979)", "category": "Horror"}


@pytest.fixture(scope="module", autouse=True)
async def active(api: httpx.AsyncClient, made: Made, settings: Settings) -> None:
    assert settings.bundles is not None
    made.write(settings.bundles, "little")
    (await api.post("/admin/scorers/little/activate")).raise_for_status()


async def score(api: httpx.AsyncClient, **body: Any) -> dict[str, Any]:
    response = await api.post("/score", json=body)
    assert response.status_code == 200, response.text
    document: dict[str, Any] = response.json()
    return document


def ranked(document: dict[str, Any]) -> list[tuple[str, float]]:
    return [(item["item_id"], item["score"]) for item in document["items"]]


async def choose(settings: Settings, user_id: str, *items: str) -> None:
    client = RedisClient(url=settings.redis_url.get_secret_value(), timeout_s=5, connections=2)
    try:
        events = [Event(user_id, item, at) for at, item in enumerate(items)]
        await RedisInteractions(client, cap=100, ttl_s=60).append(settings.tenant, events)
    finally:
        await client.aclose()


async def test_somebody_without_anything_gets_what_suits_somebody_unknown(
    api: httpx.AsyncClient, model: ModelServer
) -> None:
    for body in ({}, {"user_id": "nobody"}):
        document = await score(api, **body)
        assert document["scorer"] == "little"
        assert document["known_by"] == "nothing"
        assert document["profile"] is None
        assert ranked(document) == [("d", 0.25), ("a", 0), ("b", 0), ("c", 0)]
        assert document["items"][0]["reasons"] == {"history": [], "interests": []}
    assert model.requests == []


async def test_a_new_user_is_scored_by_clicks_and_a_profile_made_for_the_occasion(
    api: httpx.AsyncClient, model: ModelServer
) -> None:
    first = await score(api, user_id="new-1", history=[HEAT])
    assert first["known_by"] == "history"
    assert first["profile"]["status"] == "generated"
    assert first["profile"]["id"] == "new-1"
    assert {item for item, _ in ranked(first)} == {"b", "c", "d"}
    of_b = next(item for item in first["items"] if item["item_id"] == "b")
    assert of_b["reasons"]["history"] == [{"item_id": "a", "contribution": 2}]

    again = await score(api, user_id="new-1", history=[HEAT])
    assert again["profile"]["status"] == "cached"
    assert again["items"] == first["items"]
    assert len(model.requests) == 1


async def test_the_scores_and_the_interests_are_those_of_the_vectors(
    api: httpx.AsyncClient,
) -> None:
    document = await score(api, user_id="new", history=[HEAT], candidates=["b", "d"])
    profile = (await api.get("/profiles/user/new?embedding=true")).json()
    x, y = profile["embedding"][:2]
    assert dict(ranked(document)) == pytest.approx({"b": 2 + 20 * x, "d": 0.25 + 20 * y}, abs=1e-5)
    phrases = {
        interest["phrase"]: interest["contribution"]
        for item in document["items"]
        for interest in item["reasons"]["interests"]
    }
    assert phrases
    assert set(phrases) <= set(profile["interests"])
    assert all(contribution > 0 for contribution in phrases.values())


async def test_somebody_without_an_id_has_a_profile_too_and_the_same_clicks_share_it(
    api: httpx.AsyncClient, model: ModelServer
) -> None:
    statuses = [(await score(api, history=[HEAT]))["profile"]["status"] for _ in range(2)]
    assert statuses == ["generated", "cached"]
    assert (await score(api, history=[ALIEN]))["profile"]["status"] == "generated"
    assert len(model.requests) == 2


async def test_a_known_user_is_scored_by_what_training_learnt_and_no_model_is_asked(
    api: httpx.AsyncClient, model: ModelServer
) -> None:
    document = await score(api, user_id="known")
    assert document["known_by"] == "training"
    assert ranked(document) == [("b", 2), ("d", 1.25), ("c", 0.5)]
    assert document["items"][0]["reasons"]["history"] == [{"item_id": "a", "contribution": 2}]
    assert model.requests == []


async def test_newer_interactions_count_beside_what_training_knew(
    api: httpx.AsyncClient, settings: Settings
) -> None:
    await choose(settings, "regular", "a")
    assert (await score(api, user_id="regular"))["known_by"] == "training"
    await choose(settings, "regular", "c", "gone")
    document = await score(api, user_id="regular")
    assert document["known_by"] == "history"
    assert document["ignored"] == ["gone"]
    # Nothing to read for a profile: the catalogue has none of the items.
    assert document["profile"] is None
    assert ranked(document) == [("d", 2.25), ("b", 2)]


async def test_a_profile_is_made_from_interactions_of_the_catalogue(
    api: httpx.AsyncClient, settings: Settings, model: ModelServer
) -> None:
    await api.put("/items/a", json={"title": "Heat (1995)"})
    await choose(settings, "fresh", "a", "c")
    document = await score(api, user_id="fresh")
    assert document["profile"]["status"] == "generated"
    assert document["known_by"] == "history"
    asked = json.dumps(model.requests)
    assert "Heat" in asked


async def test_at_the_deadline_the_profile_is_a_degraded_one(
    api: httpx.AsyncClient, model: ModelServer
) -> None:
    model.hanging = True
    document = await score(api, user_id="hurried", history=[HEAT], deadline_ms=300)
    assert document["profile"]["status"] == "degraded"
    assert document["profile"]["interests"][0] == "Crime"
    assert len(document["items"]) == 3


async def test_an_encoder_that_hangs_costs_the_interests_and_not_the_deadline(
    api: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    await score(api, user_id="patient", history=[HEAT])
    monkeypatch.setattr("services.profiles.scoring.phrases.Phrases.vectors", _hang)
    document = await score(api, user_id="patient", deadline_ms=200)
    assert document["profile"]["status"] == "cached"
    assert document["items"][0]["reasons"]["interests"] is None


async def test_an_encoder_that_hangs_at_the_deadline_is_told_of(
    api: httpx.AsyncClient, model: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    model.hanging = True
    monkeypatch.setattr("services.profiles.cache.service._DEGRADED_S", 0.1)
    monkeypatch.setattr(
        "services.profiles.generation.profile_generator.ProfileGenerator.degraded", _hang
    )
    body = {"id": "stuck", "history": [HEAT], "deadline_ms": 100}
    async with asyncio.timeout(5):
        answer = await api.post("/profiles/user", json=body)
    assert (answer.status_code, answer.json()["code"]) == (503, "encoder-unavailable")


async def _hang(*_: object) -> None:
    await asyncio.sleep(60)


async def test_without_the_model_the_profile_is_a_degraded_one(
    api: httpx.AsyncClient, model: ModelServer
) -> None:
    model.status = 500
    document = await score(api, user_id="unlucky", history=[HEAT])
    assert document["profile"]["status"] == "degraded"
    # The profile call itself goes on to say that it has none.
    asked = await api.post("/profiles/user", json={"id": "unlucky", "history": [HEAT]})
    assert asked.status_code == 503


async def test_reasons_are_left_out_where_they_are_not_wanted(api: httpx.AsyncClient) -> None:
    told = await score(api, user_id="known")
    silent = await score(api, user_id="known", reasons=False)
    assert ranked(silent) == ranked(told)
    assert all(item["reasons"] is None for item in silent["items"])


async def test_candidates_exclude_and_k_are_kept_to(api: httpx.AsyncClient) -> None:
    document = await score(
        api, user_id="known", candidates=["d", "c", "a", "gone"], exclude=["c", "gone"]
    )
    assert ranked(document) == [("d", 1.25)]
    assert document["ignored"] == ["gone"]
    assert len((await score(api, k=2))["items"]) == 2
    assert (await score(api, candidates=["gone"]))["items"] == []


async def test_a_model_that_reads_no_profiles_makes_none(
    api: httpx.AsyncClient, settings: Settings, model: ModelServer
) -> None:
    assert settings.bundles is not None
    little_weights().write(settings.bundles, "weights")
    (await api.post("/admin/scorers/weights/activate")).raise_for_status()
    document = await score(api, user_id="new", history=[HEAT, ALIEN])
    assert document["scorer"] == "weights"
    assert document["profile"] is None
    assert ranked(document) == [("b", 1.5), ("d", -0.75)]
    assert document["items"][0]["reasons"] == {
        "history": [
            {"item_id": "a", "contribution": 1},
            {"item_id": "c", "contribution": 0.5},
        ],
        "interests": [],
    }
    assert model.requests == []
    (await api.post("/admin/scorers/little/activate")).raise_for_status()


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({"k": 0}, "body.k"),
        ({"k": 1001}, "body.k"),
        ({"k": "5"}, "body.k"),
        ({"candidates": []}, "body.candidates"),
        ({"exclude": [1]}, "body.exclude.0"),
        ({"user_id": ""}, "body.user_id"),
        ({"user_id": "a\x00b"}, "body.user_id"),
        ({"deadline_ms": 0}, "body.deadline_ms"),
        ({"users": []}, "body.users"),
        ({"history": [{"id": "a"}]}, "body.history.0.item.title"),
        ({"history": ["a"] * 1001}, "body.history"),
    ],
)
async def test_a_body_of_another_shape_is_refused_and_the_place_is_named(
    api: httpx.AsyncClient, body: dict[str, Any], where: str
) -> None:
    response = await api.post("/score", json=body)
    assert response.status_code == 422
    assert response.json()["code"] == "invalid-input"
    assert response.json()["detail"].startswith(where)


async def test_a_batch_is_answered_in_order_and_a_bad_row_costs_no_other(
    api: httpx.AsyncClient,
) -> None:
    rows = [{"user_id": "known"}, {"user_id": "u2", "k": 0}, {}, {"user_id": "u4", "k": 1}]
    lines = [*(json.dumps(row) for row in rows), "no json"]
    response = await api.post(
        "/score:batch",
        content="\n".join(lines),
        headers={"Content-Type": "application/x-ndjson"},
    )
    answers = [json.loads(line) for line in response.text.splitlines()]
    assert [answer["row"] for answer in answers] == [0, 1, 2, 3, 4]
    assert [answer["status_code"] for answer in answers] == [200, 422, 200, 200, 400]
    assert [answer["id"] for answer in answers] == ["known", "u2", None, "u4", None]
    assert ranked(answers[0]["score"])[0] == ("b", 2)
    assert answers[1]["error"]["code"] == "invalid-input"
    assert len(answers[3]["score"]["items"]) == 1


async def test_a_profile_of_another_encoder_is_not_read(
    settings: Settings, api: httpx.AsyncClient
) -> None:
    await score(api, user_id="old", history=[HEAT])
    client = RedisClient(url=settings.redis_url.get_secret_value(), timeout_s=5, connections=2)
    try:
        # As if it had been written before the encoder was changed.
        name = keys.profile(ProfileKey(settings.tenant, "user", "old"))
        value = bytearray(await client.call("GET", name))
        value[6:14] = b"\x01" * 8
        await client.call("SET", name, bytes(value))
        version = {"encoder": {"name": "other", "hash": "0"}}
        await client.call(
            "HSET", keys.versions(settings.tenant), (b"\x01" * 8).hex(), json.dumps(version)
        )
        document = await score(api, user_id="old")
        assert document["profile"] is None
        assert document["known_by"] == "nothing"
    finally:
        await client.call("HDEL", keys.versions(settings.tenant), (b"\x01" * 8).hex())
        await client.aclose()


async def test_what_takes_longer_is_ranked_in_threads_with_the_same_result(
    api: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = await score(api, user_id="known")
    monkeypatch.setattr(scorers, "_QUICK", -1)
    seen = set()
    rank = scorers.Scorer.rank

    def noting(self: scorers.Scorer, question: Question) -> Ranking:
        seen.add(threading.current_thread())
        return rank(self, question)

    monkeypatch.setattr(scorers.Scorer, "rank", noting)
    answers = await asyncio.gather(*(score(api, user_id="known") for _ in range(64)))
    assert all(answer == here for answer in answers)
    assert threading.main_thread() not in seen


async def test_beyond_those_that_may_wait_for_a_thread_requests_are_refused(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scorers, "_QUICK", -1)
    rank, free = scorers.Scorer.rank, threading.Event()

    def held(self: scorers.Scorer, question: Question) -> Ranking:
        assert free.wait(30)
        return rank(self, question)

    monkeypatch.setattr(scorers.Scorer, "rank", held)
    few = settings.model_copy(update={"max_waiting_scores": 2, "score_threads": 1})
    async with running(few) as worker:
        body = {"user_id": "known"}
        asked = [asyncio.create_task(worker.post("/score", json=body)) for _ in range(3)]
        try:
            (first,), others = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
        finally:
            free.set()
        refused = first.result()
        assert refused.status_code == 429
        assert refused.headers["retry-after"]
        assert [answer.status_code for answer in await asyncio.gather(*others)] == [200, 200]
