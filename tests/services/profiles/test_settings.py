from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from services.profiles.settings import Settings


def test_the_environment_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "TENANT": "shop-1",
        "REDIS_URL": "redis://:secret@cache:6379/1",
        "LEASE_S": "1.5",
        "MODEL_PATH": "/models/llama",
        "GENERATOR": "local",
        "ACCESS_LOG": "true",
    }.items():
        monkeypatch.setenv(f"RECLM_{name}", value)
    settings = Settings()
    assert settings.tenant == "shop-1"
    assert settings.redis_url.get_secret_value() == "redis://:secret@cache:6379/1"
    assert settings.lease_s == 1.5
    assert settings.model_path == Path("/models/llama")
    assert settings.generator == "local"
    assert settings.access_log is True


def test_secrets_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REDIS_URL", "VLLM_API_KEY", "ENCODER_API_KEY"):
        monkeypatch.setenv(f"RECLM_{name}", "redis://:hunter2@cache/0")
    assert "hunter2" not in repr(Settings())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TENANT", "a:b"),
        ("TENANT", ""),
        ("GENERATOR", "gpt"),
        ("LEASE_S", "0"),
        ("MAX_BODY_BYTES", "-1"),
        ("TEMPERATURE", "3"),
        ("REDIS_CONNECTIONS", "many"),
        ("LOG_LEVEL", "loud"),
    ],
)
def test_a_wrong_value_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"RECLM_{name}", value)
    with pytest.raises(ValidationError) as refused:
        Settings()
    assert [error["loc"] for error in refused.value.errors()] == [(name.lower(),)]


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError):
        Settings().tenant = "other"  # type: ignore[misc] # what is tested
