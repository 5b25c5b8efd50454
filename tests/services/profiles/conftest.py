"""Fixtures for tests of the service's parts."""

from __future__ import annotations

import pytest


@pytest.fixture
def anyio_backend() -> str:
    """Async tests run on the event loop that the service runs on."""
    return "asyncio"
