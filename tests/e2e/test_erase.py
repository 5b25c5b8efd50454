"""`reclm-serve erase` on a running service, and on the folders that its jobs have written."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest

from reclm_client import Event, ReclmClient
from recommenders.features.snapshot import Snapshot
from services.backfill.manifest import OutputManifest
from services.profiles.scoring import bundle as bundles
from tests.recommenders.data.tiny import dataset
from tests.services.erasure.folders import words
from tests.support.bundles import little, seen, wait_for_scorer
from tests.support.model_server import MODEL, ModelServer
from tests.support.servers import RedisServer, Service

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.stack, pytest.mark.slow]

ITEMS = ["a", "b", "c", "d"]
ANN, BOB = "person-ann-7731", "person-bob-7732"


@pytest.fixture
def service(
    service_env: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("erase")
    redis = RedisServer(folder, persistent=True)
    redis.start()
    with ModelServer() as model:
        service = Service(
            folder,
            workers=2,
            env={
                **service_env,
                "RECLM_REDIS_URL": redis.url,
                "RECLM_MODEL": MODEL,
                "RECLM_VLLM_URL": model.url,
                "RECLM_BUNDLES": str(folder / "bundles"),
            },
        )
        service.start()
        yield service
        service.process.stop()
    redis.process.stop()


@pytest.fixture
def written(service: Service, tmp_path: Path) -> Path:
    """A dataset, and what jobs have made of it at the service; a bundle is active."""
    random = np.random.default_rng(0)
    choices = [
        (user, item, int(random.integers(1_000)))
        for user in (ANN, BOB, "person-cleo-7733", "person-dan-7734")
        for item in ITEMS
    ]
    dataset(choices, items=ITEMS).write(tmp_path / "data")
    where = ["--url", service.url, "--out", tmp_path / "backfill"]
    interactions, items = (
        tmp_path / "data" / f"{name}.parquet" for name in ("interactions", "items")
    )
    command(
        "services",
        "backfill",
        "--kind",
        "user",
        "--interactions",
        interactions,
        "--items",
        items,
        *where,
    )
    where = ["--url", service.url, "--out", tmp_path / "snapshot"]
    command("recommenders", "features", tmp_path / "data", "--split", "leave-last-out", *where)
    encoder = httpx.get(f"{service.url}/readyz", timeout=10).json()["version"]["encoder"]
    made = little(encoder=encoder)
    made.user_ids = [ANN, BOB]
    vectors = made.arrays["user_vectors"]
    made.arrays |= {"user_vectors": np.concatenate([vectors, vectors]), **seen([[0], [0]])}
    folder = bundles_of(service)
    made.write(folder, "little")
    with ReclmClient(service.url) as client:
        client.activate_scorer("little")
        wait_for_scorer(service.url)
    return tmp_path


def bundles_of(service: Service) -> Path:
    return service.process.log.parent / "bundles"


def command(room: str, *arguments: object) -> str:
    done = subprocess.run(
        [sys.executable, "-m", f"{room}.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_an_erased_user_is_nowhere_any_more(service: Service, written: Path) -> None:
    folders = [written / name for name in ("data", "backfill", "snapshot")]
    with ReclmClient(service.url) as client:
        client.add_interactions([Event(ANN, "b")])
        assert client.score(BOB).known_by == "training"
        before = {folder: words(folder) for folder in (*folders, bundles_of(service))}
        assert all(ANN in held for held in before.values())
        snapshot_id = asked_for(written, ANN)
        assert client.get_profile("user", snapshot_id)

        where = [*folders, bundles_of(service)]
        shown = command(
            "services", "erase", "--url", service.url, "--user", ANN, "--from", *where, "--receipt", written / "r.json"
        )  # fmt: skip
        receipt: dict[str, Any] = json.loads(shown)
        assert receipt == json.loads((written / "r.json").read_bytes())
        (erased,) = receipt["service"]["erased"]
        assert erased["before"] == {"profiles": 2, "interactions": 1, "catalogue": 0}
        assert erased["after"] == {"profiles": 0, "interactions": 0, "catalogue": 0}
        assert {one["kind"]: one["changed"] for one in receipt["folders"]} == {
            "dataset": True,
            "backfill": True,
            "snapshot": True,
            "bundle": True,
        }
        assert any("append-only file" in copy["where"] for copy in receipt["remains"])
        assert ANN not in shown

        for folder in before:
            assert ANN not in words(folder)
            assert BOB in words(folder)
        manifest = OutputManifest.read(written / "backfill")
        assert manifest is not None
        assert manifest.rows == 3
        users = Snapshot.read(written / "snapshot").users
        assert users is not None
        assert len(users.ids) == 3
        assert list(bundles.load(bundles_of(service) / "little").user_rows) == [BOB]

        assert receipt["service"]["activated"] == ["little"]
        assert client.score(ANN).known_by == "nothing"
        assert client.score(BOB).known_by == "training"
        assert ANN in client.erasures().erased

    # Its old input does not bring the user back.
    histories = written / "histories.ndjson"
    rows = [{"id": user, "history": ["a", "b"]} for user in (ANN, BOB)]
    histories.write_text("".join(json.dumps(row) + "\n" for row in rows))
    where_to = ["--url", service.url, "--out", written / "later"]
    shown = command("services", "backfill", "--kind", "user", "--histories", histories, *where_to)
    summary = json.loads(shown)
    assert (summary["rows"], summary["outcomes"]["erased"]) == (1, 1)
    assert httpx.get(f"{service.url}/profiles/user/{ANN}", timeout=10).status_code == 404

    again = command("services", "erase", "--url", service.url, "--user", ANN, "--from", *where)
    assert not [one for one in json.loads(again)["folders"] if one["changed"]]
    assert ANN not in service.process.log.read_text()


def asked_for(written: Path, user: str) -> str:
    """Returns the id under which `features` has asked the service for a user."""
    manifest = json.loads((written / "snapshot" / "manifest.json").read_bytes())
    return f"features/tiny/{manifest['split']}/{user}"
