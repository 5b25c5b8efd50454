from __future__ import annotations

import io
import json
import logging
from typing import TYPE_CHECKING, Any

import pytest

from services.profiles.telemetry import LOGGER, Metrics, configure_logging, request_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """Configures logging as the service does, and returns what it has written so far."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    configure_logging("info")
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    root.handlers[:], root.level = before


def test_a_line_is_one_json_object_with_the_request_id(
    log: Callable[[], list[dict[str, Any]]],
) -> None:
    token = request_id.set("abc-1")
    LOGGER.warning("request failed\nin two lines", extra={"data": {"code": "overloaded"}})
    request_id.reset(token)
    LOGGER.info("later")
    first, second = log()
    assert first.pop("time").endswith("+00:00")
    assert first == {
        "level": "warning",
        "logger": "reclm",
        "message": "request failed\nin two lines",
        "request_id": "abc-1",
        "code": "overloaded",
    }
    assert second["request_id"] == "-"


def test_other_libraries_log_in_the_same_form(log: Callable[[], list[dict[str, Any]]]) -> None:
    logging.getLogger("uvicorn.error").error("%s of %s", "one", "two")
    (entry,) = log()
    assert entry["logger"] == "uvicorn.error"
    assert entry["message"] == "one of two"


def test_requests_to_the_model_server_are_not_logged(
    log: Callable[[], list[dict[str, Any]]],
) -> None:
    logging.getLogger("httpx").info("HTTP Request: POST http://model/v1/chat/completions")
    assert log() == []


def test_an_exception_stays_on_one_line(log: Callable[[], list[dict[str, Any]]]) -> None:
    try:
        _ = {}["missing"]
    except KeyError:
        LOGGER.exception("unexpected error")
    (entry,) = log()
    assert "KeyError" in entry["exception"]


def test_metrics_of_two_apps_are_apart() -> None:
    one, other = Metrics(), Metrics()
    one.profiles.labels("user", "cached").inc()
    line = b'reclm_profiles_total{kind="user",status="cached"} 1.0'
    assert line in one.render()
    assert line not in other.render()
