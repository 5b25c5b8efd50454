from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def no_service(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands do not ask a service that happens to run on this machine who was erased."""
    monkeypatch.setenv("RECLM_URL", "http://127.0.0.1:9")
