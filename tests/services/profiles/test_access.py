"""Who gets past the layer that asks for keys, on whichever way the request goes behind it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr
from pydantic_settings import SettingsError

from services.profiles.access.keyring import Keyring
from services.profiles.api.access import RequireKey
from services.profiles.app import create_app
from services.profiles.server import require_keys
from services.profiles.settings import Settings
from services.profiles.telemetry import Metrics

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from starlette.types import Receive, Scope, Send

CALLER, SECOND, ADMIN = "caller-key-0123456789", "second-key-0123456789", "admin-key-0123456789"


def settings(*, api: str | None = None, admin: str | None = None, **others: Any) -> Settings:
    return Settings(
        api_keys=SecretStr(api) if api is not None else None,
        admin_keys=SecretStr(admin) if admin is not None else None,
        **others,
    )


def call(
    keys: Settings, path: str, headers: Mapping[str, str] | None = None, method: str = "GET"
) -> httpx.Response:
    """Asks an app that answers everything with 200, behind the layer."""

    async def behind(_: Scope, __: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"behind"})

    owner = FastAPI()
    owner.state.metrics = Metrics()
    layer = RequireKey(behind, owner=owner, keys=Keyring.of(keys))

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(layer)
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
            return await client.request(method, path, headers=headers)

    return asyncio.run(ask())


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


BOTH = settings(api=f"{CALLER},{SECOND}", admin=ADMIN)


@pytest.mark.parametrize(
    ("key", "path", "status"),
    [
        (None, "/healthz", 200),
        (None, "/readyz", 200),
        (None, "/openapi.json", 200),
        (None, "/profiles/user", 401),
        (None, "/items", 401),
        (None, "/no/such/path", 401),
        (None, "/healthz/", 401),
        (None, "/metrics", 401),
        (None, "/admin/scorers", 401),
        (CALLER, "/profiles/user", 200),
        (SECOND, "/profiles/user", 200),
        (CALLER, "/administration", 200),
        (CALLER, "/metrics", 403),
        (CALLER, "/admin", 403),
        (CALLER, "/admin/scorers", 403),
        (CALLER, "/%61dmin/scorers", 403),
        (ADMIN, "/metrics", 200),
        (ADMIN, "/admin/scorers", 200),
        (ADMIN, "/profiles/user", 200),
        (CALLER[:-1], "/profiles/user", 401),
        (CALLER + "x", "/profiles/user", 401),
        ("", "/profiles/user", 401),
    ],
)
def test_a_key_opens_what_it_is_for(key: str | None, path: str, status: int) -> None:
    assert call(BOTH, path, None if key is None else bearer(key)).status_code == status


def test_a_refusal_is_a_problem_that_says_what_to_send() -> None:
    missing = call(BOTH, "/profiles/user", method="POST")
    assert missing.headers["WWW-Authenticate"] == 'Bearer realm="reclm"'
    assert missing.headers["content-type"] == "application/problem+json"
    assert missing.json()["code"] == "unauthorized"
    wrong = call(BOTH, "/profiles/user", bearer("wrong-key-0123456789"))
    assert wrong.headers["WWW-Authenticate"] == 'Bearer realm="reclm", error="invalid_token"'
    assert "wrong-key" not in wrong.text
    forbidden = call(BOTH, "/metrics", bearer(CALLER))
    assert forbidden.json()["code"] == "forbidden"
    assert "WWW-Authenticate" not in forbidden.headers


@pytest.mark.parametrize("scheme", ["bearer", "BEARER"])
def test_the_scheme_is_read_in_any_case(scheme: str) -> None:
    assert call(BOTH, "/items", {"Authorization": f"{scheme} {CALLER}"}).status_code == 200
    assert call(BOTH, "/items", {"Authorization": f"Basic {CALLER}"}).status_code == 401


def test_without_admin_keys_an_api_key_opens_metrics() -> None:
    keys = settings(api=CALLER)
    assert call(keys, "/metrics").status_code == 401
    assert call(keys, "/metrics", bearer(CALLER)).status_code == 200


def test_admin_keys_alone_close_nothing_else() -> None:
    keys = settings(admin=ADMIN)
    assert call(keys, "/profiles/user").status_code == 200
    assert call(keys, "/metrics").status_code == 401
    assert call(keys, "/metrics", bearer(ADMIN)).status_code == 200


@pytest.mark.parametrize("bad", ["short", "white\u00a0space-0123456789", "ü" * 20, "x" * 257])
def test_a_key_that_is_no_good_is_refused_and_not_shown(bad: str) -> None:
    with pytest.raises(SettingsError, match="RECLM_API_KEYS: key 2") as refused:
        Keyring.of(settings(api=f"{CALLER}\n{bad}\n"))
    assert bad not in str(refused.value)


def test_keys_come_from_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "keys"
    file.write_text(f"{CALLER}\n{SECOND}\n")
    monkeypatch.setenv("RECLM_API_KEYS_FILE", str(file))
    assert call(Settings(), "/items", bearer(SECOND)).status_code == 200

    monkeypatch.setenv("RECLM_API_KEYS", CALLER)
    with pytest.raises(SettingsError, match="both set"):
        Settings()
    monkeypatch.delenv("RECLM_API_KEYS")
    file.write_text("\n")
    assert Settings().api_keys is None
    monkeypatch.setenv("RECLM_API_KEYS_FILE", str(tmp_path / "none"))
    with pytest.raises(SettingsError, match="RECLM_API_KEYS_FILE"):
        Settings()


def test_a_file_gives_a_secret_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "value").write_text("hunter2hunter2\n")
    monkeypatch.setenv("RECLM_REDIS_PASSWORD_FILE", str(tmp_path / "value"))
    monkeypatch.setenv("RECLM_MODEL_FILE", str(tmp_path / "value"))
    read = Settings()
    assert read.redis_password is not None
    assert read.redis_password.get_secret_value() == "hunter2hunter2"
    assert read.model == Settings.model_fields["model"].default
    assert "hunter2" not in repr(read)


@pytest.mark.parametrize(
    ("host", "bind", "keys", "starts"),
    [
        ("127.0.0.1", None, None, True),
        ("::1", None, None, True),
        ("localhost", None, None, True),
        ("0.0.0.0", None, None, False),
        ("::", None, None, False),
        ("10.1.2.3", None, None, False),
        ("reclm.example.org", None, None, False),
        ("0.0.0.0", "127.0.0.1", None, True),
        ("127.0.0.1", "0.0.0.0", None, False),
        ("0.0.0.0", None, CALLER, True),
        ("0.0.0.0", "0.0.0.0", CALLER, True),
        ("0.0.0.0", None, " , ", False),
    ],
)
def test_a_public_address_needs_api_keys(
    host: str, bind: str | None, keys: str | None, starts: bool
) -> None:
    chosen = settings(api=keys, bind=bind, admin=ADMIN)
    if starts:
        require_keys(chosen, host)
    else:
        with pytest.raises(SettingsError, match="RECLM_API_KEYS"):
            require_keys(chosen, host)


def document(chosen: Settings) -> dict[str, Any]:
    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(create_app(chosen))
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
            return await client.get("/openapi.json")

    found: dict[str, Any] = asyncio.run(ask()).json()
    return found


def test_the_document_says_which_calls_need_a_key() -> None:
    paths = document(BOTH)["paths"]
    assert document(BOTH)["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
    for path, operations in paths.items():
        for operation in operations.values():
            is_open = path in {"/healthz", "/readyz"}
            assert ("security" in operation) is not is_open, path
            assert ("401" in operation["responses"]) is not is_open, path
            assert ("403" in operation["responses"]) is (
                path == "/metrics" or path.startswith("/admin")
            ), path


def test_the_document_of_an_open_service_has_no_keys() -> None:
    open_ = document(settings())
    assert "securitySchemes" not in open_["components"]
    assert not any("security" in op for path in open_["paths"].values() for op in path.values())
