"""The OpenAPI document is true: whatever it allows, and much that it does not, is answered by it.

schemathesis makes the requests. The model server is a scripted one, since what is under test is
HTTP; Redis and the encoder are real.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

from tests.support.bundles import little
from tests.support.model_server import MODEL, ModelServer
from tests.support.servers import RedisServer, Service

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.stack

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
]
BATCHES = {
    "POST /profiles/user:batch": "POST /profiles/user",
    "POST /profiles/item:batch": "POST /profiles/item",
    "POST /items:batch": "PUT /items/{id}",
    "POST /score:batch": "POST /score",
}
"""Operations that take NDJSON, and those whose bodies are like their rows."""

NO_INPUT = [
    "GET /healthz",
    "GET /readyz",
    "GET /metrics",
    "GET /admin/scorers",
    "POST /admin/scorers/rollback",
    "GET /admin/erasures/copies",
]
"""Operations that nothing wrong can be sent to."""

OPERATIONS = [
    *(f"POST /profiles/{kind}" for kind in ("user", "item")),
    *(f"GET /profiles/{kind}/{{id}}" for kind in ("user", "item")),
    *(f"DELETE /profiles/{kind}/{{id}}" for kind in ("user", "item")),
    *(f"POST /embeddings/{kind}" for kind in ("user", "item")),
    "POST /interactions",
    "GET /interactions/{id}",
    "GET /items",
    *(f"{method} /items/{{id}}" for method in ("PUT", "GET", "DELETE")),
    "POST /score",
    "GET /admin/erasures",
    "POST /admin/scorers/{name}/activate",
    *NO_INPUT,
]

SETTINGS = settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)


@schemathesis.serializer("application/x-ndjson")
def ndjson(_: Any, rows: list[Any]) -> bytes:
    return b"\n".join(json.dumps(row).encode() for row in rows)


@pytest.fixture(scope="module")
def url(
    redis_server: RedisServer,
    service_env: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[str]:
    bundles = tmp_path_factory.mktemp("bundles")
    with ModelServer() as model:
        service = Service(
            tmp_path_factory.mktemp("openapi"),
            env={
                **service_env,
                "RECLM_TENANT": "openapi",
                "RECLM_MODEL": MODEL,
                "RECLM_VLLM_URL": model.url,
                "RECLM_BUNDLES": str(bundles),
            },
        )
        service.start()
        encoder = httpx.get(f"{service.url}/readyz", timeout=10).json()["version"]["encoder"]
        little(encoder=encoder).write(bundles, "little")
        httpx.post(f"{service.url}/admin/scorers/little/activate", timeout=30).raise_for_status()
        yield service.url
        service.process.stop()


@pytest.fixture(scope="module")
def operations(url: str) -> dict[str, Any]:
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    # Besides the statuses that schemathesis knows: a cursor of many characters is over the limit of headers.
    rejection = schema.config.checks.negative_data_rejection
    rejection.expected_statuses = [*rejection.expected_statuses, "431"]
    found = [result.ok() for result in schema.get_all_operations()]
    return {f"{operation.method.upper()} {operation.path}": operation for operation in found}


def test_every_operation_is_tried(operations: dict[str, Any]) -> None:
    assert sorted(operations) == sorted([*OPERATIONS, *BATCHES])


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        *((name, GenerationMode.POSITIVE) for name in OPERATIONS),
        *((name, GenerationMode.NEGATIVE) for name in OPERATIONS if name not in NO_INPUT),
    ],
)
def test_an_operation_answers_as_documented(
    operations: dict[str, Any], url: str, name: str, mode: GenerationMode
) -> None:
    @SETTINGS
    @given(case=operations[name].as_strategy(generation_mode=mode))
    def try_it(case: Any) -> None:
        with_time(case.body)
        case.validate_response(case.call(base_url=url), checks=CHECKS)

    try_it()
    assert httpx.get(f"{url}/readyz", timeout=10).json()["status"] == "ready"


@pytest.mark.parametrize("name", BATCHES)
def test_a_batch_answers_as_documented(operations: dict[str, Any], url: str, name: str) -> None:
    rows = st.lists(operations[BATCHES[name]].as_strategy().map(lambda case: case.body), max_size=8)

    @SETTINGS
    @given(rows=rows)
    def try_it(rows: list[Any]) -> None:
        for row in rows:
            with_time(row)
        case = operations[name].Case(body=rows, media_type="application/x-ndjson")
        response = case.call(base_url=url)
        case.validate_response(response, checks=CHECKS)
        answers = [json.loads(line) for line in response.text.splitlines()]
        assert len(answers) == len(rows)
        assert all(answer["status_code"] < 500 for answer in answers), answers

    try_it()


def with_time(body: Any) -> None:
    """Leaves deadlines time for an answer: one of a millisecond that passes is a 503, rightly."""
    deadline = body.get("deadline_ms") if isinstance(body, dict) else None
    # One that is not allowed stays as it is: it has to be refused.
    if type(deadline) is int and 1 <= deadline < 5_000:
        body["deadline_ms"] = 5_000
