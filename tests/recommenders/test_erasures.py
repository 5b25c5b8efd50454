"""Exports leave out whom the service has erased, and say so when they could not ask."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
import pytest

from reclm_client import Erasures
from recommenders.cli import main
from recommenders.data.profiles import write_profiles
from recommenders.data.splits.text import read_plan
from recommenders.erasures import consult
from recommenders.export.bundle import write_bundle
from recommenders.features.service import FetchOptions, ProfileRequests
from recommenders.features.snapshot import Snapshot
from services.profiles.scoring import bundle as bundles
from tests.recommenders.data.tiny import dataset
from tests.recommenders.export.test_bundle import HERE, trained
from tests.services.client.server import running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.services.client.server import Reply, Request, Server

AT = datetime(2026, 11, 30, 12, 0, 0, 5_000, UTC)
AS_OF_MS = 1796040000005


@pytest.fixture
def server() -> Iterator[Server]:
    with running() as server:
        server.handler = two_pages
        yield server


async def two_pages(request: Request, reply: Reply) -> None:
    at = AT.isoformat()
    if b"cursor" in request.query:
        page = {"as_of": "2027-01-01T00:00:00Z", "erasures": [], "cursor": None}
        page["erasures"] = [{"user_id": "u1", "erased_at": at}]
    else:
        page = {"as_of": at, "erasures": [{"user_id": "u2", "erased_at": at}], "cursor": "7"}
    await reply.json(page)


def test_a_bundle_has_none_who_was_erased_and_says_as_of_when(tmp_path: Path) -> None:
    one = trained("bias_mf", "base")
    whole = bundles.load(write_bundle(one, tmp_path / "whole").folder)
    gone = {"u1": AT, "u4": AT, "nobody": AT}
    part = bundles.load(write_bundle(one, tmp_path / "part", erasures=Erasures(AT, gone)).folder)
    assert list(part.user_rows) == [user for user in whole.user_rows if user not in gone]
    assert len(part.user_rows) == len(whole.user_rows) - 2
    assert part.manifest.erasures_as_of == AS_OF_MS
    assert whole.manifest.erasures_as_of is None
    for user, row in part.user_rows.items():
        before = whole.user_rows[user]
        assert part.seen(row).tolist() == whole.seen(before).tolist()
        assert np.array_equal(
            part.arrays["user_vectors"][row], whole.arrays["user_vectors"][before]
        )
    assert part.item_ids == whole.item_ids
    assert "u4" not in (part.folder / "users.parquet").read_bytes().decode("latin-1")


def test_the_service_is_asked_for_all_pages(server: Server) -> None:
    lines: list[str] = []
    erasures = consult(server.url, progress=lines.append)
    assert erasures == Erasures(AT, {"u2": AT, "u1": AT})
    assert lines == []


@pytest.mark.parametrize("status", [403, 404])
def test_a_service_that_refuses_costs_one_line(server: Server, status: int) -> None:
    async def refuse(_: Request, reply: Reply) -> None:
        await reply.problem(status, "forbidden")

    server.handler = refuse
    lines: list[str] = []
    assert consult(server.url, progress=lines.append) is None
    (line,) = lines
    assert line.startswith("the deny list was not consulted, so users who were erased are not left")


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "nowhere"])
def test_no_service_costs_one_line_too(url: str) -> None:
    lines: list[str] = []
    assert consult(url, progress=lines.append) is None
    assert len(lines) == 1


@pytest.mark.parametrize("reachable", [True, False])
def test_the_command_exports_without_them(
    server: Server,
    reachable: bool,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    trained("bias_mf", "base").save(tmp_path / "model")
    where = ["--url", server.url] if reachable else []
    command = ["export", str(tmp_path / "model"), "--out", str(tmp_path), "--name", "b", *where]
    assert main(command) == 0
    bundle = bundles.load(tmp_path / "b")
    assert ("u1" in bundle.user_rows) != reachable
    assert bundle.manifest.erasures_as_of == (AS_OF_MS if reachable else None)
    assert ("the deny list was not consulted" in capsys.readouterr().err) != reachable
    document = json.loads((tmp_path / "b" / "manifest.json").read_bytes())
    assert ("erasures_as_of" in document) == reachable


def test_a_snapshot_of_files_has_none_who_was_erased(
    server: Server, tmp_path: Path, encoder_folder: Path
) -> None:
    whole = dataset([("u1", "i", 0), ("u3", "i", 1)])
    whole.write(tmp_path / "data")
    write_profiles(tmp_path / "users.jsonl", {"u1": "camper", "u3": "hiker"})
    command = ["features", str(tmp_path / "data"), "--users", str(tmp_path / "users.jsonl")]
    out = ["--out", str(tmp_path / "s"), "--encoder", str(encoder_folder), "--url", server.url]
    assert main([*command, *out]) == 0
    users = Snapshot.read(tmp_path / "s").users
    assert users is not None
    assert users.ids == ("u3",)


def test_the_service_is_not_asked_for_profiles_of_who_was_erased() -> None:
    random = np.random.default_rng(0)
    items = [f"i{item}" for item in range(8)]
    own = [f"own{item}" for item in range(6)]
    choices = [
        (f"u{user}", item, int(random.integers(1_000)))
        for user in range(8)
        for item in (own if user == 5 else items)
    ]
    whole = dataset(choices, items=[*items, *own])
    split = read_plan("random,seed=1").divide(whole)

    def sent_with(requests: ProfileRequests) -> int:
        _, rows = requests.of("item")
        return sum(len(request.history) for _, request in rows(own))

    everybody = ProfileRequests(whole, split, FetchOptions())
    requests = ProfileRequests(whole, split, FetchOptions(), erased={"u5", "u2"})
    assert everybody.user_ids == [f"u{user}" for user in range(8)]
    assert requests.user_ids == [f"u{user}" for user in (0, 1, 3, 4, 6, 7)]
    # Only u5 has chosen these together.
    assert sent_with(everybody) > 0
    assert sent_with(requests) == 0


def test_the_erased_of_this_module_are_in_the_model() -> None:
    assert HERE.inputs.n_users > 5
