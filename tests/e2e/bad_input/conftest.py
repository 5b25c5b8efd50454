"""The service, asked without the client's help, and a watch on what that costs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from tests.e2e.bad_input.bad import post
from tests.support.profiles import HEAT
from tests.support.servers import metric

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.servers import Service


@pytest.fixture(scope="package")
def api(service: Service) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=service.url, timeout=60) as client:
        yield client


@pytest.fixture
def costs_nothing(service: Service) -> Iterator[None]:
    """Whatever happens in the test, the model is not asked."""
    before = metric(service.url, "reclm_model_seconds_count")
    yield
    assert metric(service.url, "reclm_model_seconds_count") == before


@pytest.fixture(scope="package")
def source(api: httpx.Client) -> str:
    """Who has the profile that others get copies of."""
    made = post(api, {"id": "bad source", "history": [HEAT]})
    assert made.status_code == 200, made.text
    return "bad source"
