"""The main path on the whole real stack: real Redis, real vLLM, real encoder, two workers."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx
import numpy as np
import pyarrow as pa
import pytest

from services.profiles.encoders.onnx import OnnxEncoder
from tests.support.profiles import BABE, CASINO, HEAT, TOY_STORY, assert_well_formed
from tests.support.servers import Service, metric, successes
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.stack, pytest.mark.model]

ARROW = "application/vnd.apache.arrow.stream"
FLOAT16 = 1e-3
"""Twice what a unit vector's number can lose in half precision."""


@pytest.fixture(scope="module")
def api(service: Service) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=service.url, timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def user(api: httpx.Client) -> dict[str, Any]:
    """A user who was profiled from two films of the catalogue."""
    for id_, film in (("path/heat 1", HEAT), ("path:casino", CASINO)):
        put = api.put("/items/" + quote(id_, safe=""), json=film)
        assert put.status_code == 200
        kept = {"id": id_, "description": "", "hidden": False, "expires_at": None, **film}
        assert put.json() == kept
    return ask(api, "user", id="main/user 1", history=["path/heat 1", "path:casino"])


def ask(api: httpx.Client, kind: str, **body: Any) -> dict[str, Any]:
    response = api.post(f"/profiles/{kind}", json=body)
    assert response.status_code == 200, response.text
    profile: dict[str, Any] = response.json()
    assert_well_formed(profile)
    assert (profile["kind"], profile["id"]) == (kind, body["id"])
    return profile


def without_status(profile: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in profile.items() if name != "status"}


def test_a_user_is_read_from_the_catalogue_and_then_cached(
    api: httpx.Client, user: dict[str, Any], vllm_url: str
) -> None:
    asked = successes(vllm_url)
    hits = [
        ask(api, "user", id=user["id"], history=["path/heat 1", "path:casino"]) for _ in range(5)
    ]
    bare = ask(api, "user", id=user["id"])

    assert user["status"] == "generated"
    assert user["version"]["adapter"] is None
    assert user["version"]["base_model"]["name"] == "SmolLM2-135M-Instruct"
    assert user["version"]["encoder"]["name"] == "all-MiniLM-L6-v2-int8"
    for hit in (*hits, bare):
        assert hit == {**user, "status": "cached"}
    assert successes(vllm_url) == asked


def test_an_item_is_profiled_inline_and_from_the_catalogue(
    api: httpx.Client, user: dict[str, Any]
) -> None:
    inline = ask(api, "item", id="inline item", item=TOY_STORY, history=[BABE])
    again = ask(api, "item", id="inline item", item=TOY_STORY, history=[BABE])
    catalogue = ask(api, "item", id="path:casino")

    assert inline["status"] == catalogue["status"] == "generated"
    assert again == {**inline, "status": "cached"}
    assert catalogue["input_hash"] != inline["input_hash"]


def test_a_changed_history_is_read_anew(api: httpx.Client) -> None:
    first = ask(api, "user", id="changing", history=[HEAT])
    second = ask(api, "user", id="changing", history=[HEAT, BABE])
    third = ask(api, "user", id="changing", history=[HEAT, BABE])

    assert (first["status"], second["status"], third["status"]) == (
        "generated",
        "generated",
        "cached",
    )
    assert second["input_hash"] != first["input_hash"]
    assert without_status(third) == without_status(second)


def test_reading_and_erasing(api: httpx.Client) -> None:
    path = "/profiles/user/to%2Fbe%20erased"
    assert api.get(path).status_code == 404
    written = ask(api, "user", id="to/be erased", history=[CASINO])

    read = api.get(path)
    assert read.json() == {**written, "status": "cached"}
    assert [api.delete(path).status_code for _ in range(2)] == [204, 204]

    gone = api.get(path)
    assert gone.status_code == 404
    assert gone.headers["content-type"] == "application/problem+json"
    assert gone.json()["code"] == "profile-not-found"
    nothing = api.post("/profiles/user", json={"id": "to/be erased"})
    assert (nothing.status_code, nothing.json()["code"]) == (422, "nothing-to-read")


def test_the_embedding_is_that_of_the_text(
    api: httpx.Client, user: dict[str, Any], encoder_folder: Path
) -> None:
    async def encode(text: str) -> np.ndarray[Any, Any]:
        encoder = OnnxEncoder(encoder_folder)
        try:
            return (await encoder.encode([text]))[0]
        finally:
            await encoder.aclose()

    asked = ask(api, "user", id=user["id"], embedding=True)
    read = api.get("/profiles/user/main%2Fuser%201", params={"embedding": "true"}).json()

    expected = asyncio.run(encode(user["text"]))
    assert expected.shape == (384,)
    np.testing.assert_allclose(asked["embedding"], expected, atol=FLOAT16)
    assert read == asked
    assert "embedding" not in user


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_embeddings_of_many(api: httpx.Client, user: dict[str, Any], dtype: str) -> None:
    single = ask(api, "user", id=user["id"], embedding=True)["embedding"]
    body = {"ids": ["nobody", user["id"], "none either"], "dtype": dtype}

    arrow = api.post("/embeddings/user", json=body, headers={"Accept": ARROW})
    document = api.post("/embeddings/user", json=body).json()

    assert arrow.headers["content-type"] == ARROW
    table = pa.ipc.open_stream(arrow.content).read_all()
    number = {"float32": pa.float32(), "float16": pa.float16()}[dtype]
    assert table.schema.field("vector").type == pa.list_(number, 384)
    assert table.column("id").to_pylist() == body["ids"]
    missing, found, missing_too = table.column("vector").to_pylist()
    assert missing is missing_too is None
    np.testing.assert_array_equal(np.asarray(found, np.float32), np.asarray(single, np.float32))
    versions = table.column("version").to_pylist()
    assert (versions[0], versions[2]) == (None, None)
    assert document["dimension"] == 384
    assert [row["id"] for row in document["rows"]] == body["ids"]
    assert [row["vector"] for row in document["rows"]] == [None, single, None]
    assert [row["version"] for row in document["rows"]] == versions


def test_a_batch_answers_each_row_in_its_place(
    api: httpx.Client, user: dict[str, Any], vllm_url: str
) -> None:
    rows: list[bytes] = [
        json.dumps(row).encode()
        for row in (
            {"id": "batch new", "history": [TOY_STORY, BABE]},
            {"id": user["id"]},
            {"id": "batch unknown", "history": ["no such item", "path:casino", "nor this"]},
            {"id": "batch empty"},
            {"id": "batch shape", "history": "path:casino"},
            {"id": "batch new", "history": [TOY_STORY, BABE]},
        )
    ]
    rows.insert(2, b"{not json")
    response = api.post(
        "/profiles/user:batch",
        content=b"\n".join(rows),
        headers={"Content-Type": "application/x-ndjson"},
    )

    assert response.status_code == 200
    assert response.headers["content-type"].startswith("application/x-ndjson")
    answers = [json.loads(line) for line in response.text.splitlines()]
    assert [answer["row"] for answer in answers] == list(range(7))
    assert [answer["id"] for answer in answers] == [
        "batch new",
        user["id"],
        None,
        "batch unknown",
        "batch empty",
        "batch shape",
        "batch new",
    ]
    assert [answer["status_code"] for answer in answers] == [200, 200, 400, 422, 422, 422, 200]
    assert [answer["error"]["code"] for answer in answers[2:6]] == [
        "malformed-body",
        "unknown-items",
        "nothing-to-read",
        "invalid-input",
    ]
    assert answers[3]["error"]["unknown"] == ["no such item", "nor this"]
    assert answers[1]["profile"] == {**user, "status": "cached"}
    for answer in (answers[0], answers[6]):
        assert_well_formed(answer["profile"])
    assert answers[0]["profile"]["text"] == answers[6]["profile"]["text"]


def test_metrics_count_hits_generations_and_errors(api: httpx.Client, service: Service) -> None:
    def counts() -> list[int]:
        return [
            metric(service.url, "reclm_profiles_total", kind="item", status="generated"),
            metric(service.url, "reclm_profiles_total", kind="item", status="cached"),
            metric(service.url, "reclm_errors_total", code="profile-not-found"),
            metric(service.url, "reclm_model_seconds_count")
            - metric(service.url, "reclm_model_malformed_total"),
            metric(service.url, "reclm_encoder_batch_size_sum"),
        ]

    before = counts()
    ask(api, "item", id="counted", item=HEAT)
    for _ in range(4):
        ask(api, "item", id="counted", item=HEAT)
    api.get("/profiles/item/nobody%20counts")

    assert np.subtract(counts(), before).tolist() == [1, 4, 1, 1, 1]
    assert metric(service.url, "reclm_model_tokens_total", direction="prompt") > 100
    assert metric(service.url, "reclm_model_tokens_total", direction="completion") > 10


def test_readiness_names_every_dependency(api: httpx.Client) -> None:
    assert api.get("/healthz").json() == {"status": "ok"}
    ready = api.get("/readyz")

    assert ready.status_code == 200
    assert ready.json()["status"] == "ready"
    assert {
        name: dependency["status"] for name, dependency in ready.json()["dependencies"].items()
    } == {"redis": "up", "model": "up", "encoder": "up", "scorer": "up"}


def test_the_request_id_goes_round_and_nothing_private_is_logged(
    api: httpx.Client, service: Service
) -> None:
    secret = "Zanzibar Zeppelin"
    given = "trace-1.of_this-test"
    written = api.post(
        "/profiles/user",
        json={"id": f"{secret} user", "history": [{"title": secret, "category": secret}]},
        headers={"X-Request-Id": given},
    )
    refused = api.post(
        "/profiles/user", json={"id": "x", "history": [secret]}, headers={"X-Request-Id": "bad id"}
    )
    api.get(f"/profiles/user/{secret} user", headers={"X-Request-Id": "trace-2"})

    assert written.status_code == 200
    assert written.headers["X-Request-Id"] == given
    made = refused.headers["X-Request-Id"]
    assert refused.json()["request_id"] == made != "bad id"
    # A request is logged after its answer has gone out.
    served = eventually(lambda: served_in(service.log(), {given, made, "trace-2"}))
    assert (served[given], served[made], served["trace-2"]) == (200, 422, 200)
    text = service.process.log.read_text()
    profile = written.json()
    private = [secret, "Zanzibar", *profile["identities"], *profile["interests"]]
    assert [words for words in private if words in text] == []


def served_in(log: list[dict[str, Any]], wanted: set[str]) -> dict[str, int]:
    """Returns the statuses of requests by their ids, empty unless all that are wanted are there."""
    served = {
        entry["request_id"]: entry["status"] for entry in log if entry["message"] == "request"
    }
    return served if wanted <= served.keys() else {}


def test_the_openapi_document_and_its_page(api: httpx.Client) -> None:
    paths = api.get("/openapi.json").json()["paths"]
    assert {"/profiles/user", "/profiles/item:batch", "/embeddings/user", "/items"} <= paths.keys()
    assert "swagger" in api.get("/docs").text.lower()
