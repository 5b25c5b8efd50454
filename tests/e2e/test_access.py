"""Keys on a running service: the short way and the app behind it, and our own client."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import httpx
import pytest

from reclm_client import AccessDenied, Item, ReclmClient
from tests.support.model_server import MODEL, ModelServer
from tests.support.servers import RedisServer, Service

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.stack

CALLER, ADMIN = "caller-key-0123456789", "admin-key-0123456789"


@pytest.fixture(scope="module")
def url(
    redis_server: RedisServer,
    service_env: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("access")
    (folder / "keys").write_text(f"{CALLER}\n")
    with ModelServer() as model:
        service = Service(
            folder,
            workers=2,
            env={
                **service_env,
                "RECLM_TENANT": "access",
                "RECLM_MODEL": MODEL,
                "RECLM_VLLM_URL": model.url,
                "RECLM_API_KEYS_FILE": str(folder / "keys"),
                "RECLM_ADMIN_KEYS": ADMIN,
            },
        )
        service.start()
        yield service.url
        service.process.stop()


def test_every_way_in_asks_for_the_key(url: str) -> None:
    body = {"id": "ann", "history": [{"title": "Heat"}]}
    for path in ("/profiles/user", "/profiles/user:batch", "/embeddings/user"):
        assert httpx.post(url + path, json=body).status_code == 401
    assert httpx.get(f"{url}/items").status_code == 401
    assert httpx.get(f"{url}/healthz").status_code == 200
    assert httpx.get(f"{url}/readyz").status_code == 200

    shown = {"Authorization": f"Bearer {CALLER}"}
    answers = [httpx.post(f"{url}/profiles/user", json=body, headers=shown) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[1].json()["status"] == "cached"


def test_metrics_need_the_admin_key_and_count_refusals(url: str) -> None:
    httpx.get(f"{url}/items")
    caller, admin = (
        httpx.get(f"{url}/metrics", headers={"Authorization": f"Bearer {key}"})
        for key in (CALLER, ADMIN)
    )
    assert caller.status_code == 403
    assert admin.status_code == 200
    assert 'reclm_errors_total{code="unauthorized"}' in admin.text


def test_the_client_shows_its_key(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ReclmClient(url) as new_user, pytest.raises(AccessDenied):
        new_user.put_item(Item("heat", "Heat"))
    with ReclmClient(url, api_key=CALLER) as client:
        client.put_item(Item("heat", "Heat"))
        rows = list(client.put_items([Item("heat", "Heat"), Item("casino", "Casino")]))
        assert all(row.error is None for row in rows)

    (tmp_path / "key").write_text(f"{CALLER}\n{ADMIN}\n")
    monkeypatch.setenv("RECLM_API_KEY_FILE", str(tmp_path / "key"))
    with ReclmClient(url) as client:
        assert client.get_item("heat").title == "Heat"
    monkeypatch.setenv("RECLM_API_KEY", "other-key-0123456789")
    with ReclmClient(url) as client, pytest.raises(AccessDenied):
        client.get_item("heat")


def test_a_backfill_without_the_key_says_so_at_once(url: str, tmp_path: Path) -> None:
    (tmp_path / "in.ndjson").write_text('{"id": "ann", "history": [{"title": "Heat"}]}\n')
    command = [sys.executable, "-m", "services.cli", "backfill", "--kind", "user", "--url", url]
    command += ["--histories", str(tmp_path / "in.ndjson"), "--out", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert "RECLM_API_KEY" in done.stderr


def test_a_public_address_without_keys_is_refused(service_env: dict[str, str]) -> None:
    command = [sys.executable, "-m", "services.cli", "run", "--host", "0.0.0.0", "--port", "0"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=60, env=service_env
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: 0.0.0.0 can be reached")
