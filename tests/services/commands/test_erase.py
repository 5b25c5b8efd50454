"""`reclm-serve erase`: the service first, then folders, and a receipt of both."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from services import cli
from services.erasure.receipt import id_hash
from tests.services.client import documents
from tests.services.client.server import running
from tests.services.erasure.folders import bundle, dataset, snapshot, words

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.services.client.server import Reply, Request, Server

USERS, ITEMS = ["person-1", "person-2", "person-3"], ["thing-1", "thing-2"]
COPIES = [{"where": "append-only file", "until": "its next rewrite", "ended_by": None}]


class Service:
    """Has profiles and interactions of some users, until they are erased."""

    def __init__(self, *users: str) -> None:
        self.profiles = set(users)
        self.interactions = dict.fromkeys(users, 2)
        self.calls: list[str] = []
        self.refuse_after: int | None = None
        self.active = "b"

    async def handle(self, request: Request, reply: Reply) -> None:
        path = request.path.decode()
        self.calls.append(f"{request.method} {path}")
        if self.refuse_after is not None and len(self.calls) > self.refuse_after:
            await reply.problem(403, "forbidden")
        elif path == "/admin/erasures/copies":
            await reply.json({"copies": COPIES})
        elif path == "/admin/scorers":
            scorers = [scorer(name, active=name == self.active) for name in ("b", "c")]
            await reply.json({"active": self.active, "previous": None, "scorers": scorers})
        elif path.endswith("/activate"):
            await reply.json({"active": self.active, "previous": None})
        elif request.method == "DELETE":
            id_ = path.rpartition("/")[2].replace("%2F", "/")
            self.profiles.discard(id_)
            self.interactions.pop(id_, None)
            await reply.start(204, "text/plain", content_length="0")
        elif path.startswith("/interactions/"):
            id_ = path.rpartition("/")[2]
            event = {"user_id": id_, "item_id": "i", "timestamp": "2026-01-01T00:00:00Z"}
            events = [event] * self.interactions.get(id_, 0)
            await reply.json({"user_id": id_, "events": events})
        elif path.rpartition("/")[2].replace("%2F", "/") in self.profiles:
            await reply.json(documents.profile())
        else:
            await reply.problem(404, "profile-not-found")


def scorer(name: str, *, active: bool) -> dict[str, Any]:
    unknown = dict.fromkeys(
        ("refused", "kind", "model", "created_at", "n_items", "n_users", "metrics")
    )
    return {"name": name, "active": active, "previous": False, "loaded": active, **unknown}


@pytest.fixture
def server() -> Iterator[Server]:
    with running() as server:
        yield server


@pytest.fixture
def service(server: Server) -> Service:
    service = Service("person-1", "person-2", "features/d/abc/first-2/person-1")
    server.handler = service.handle
    return service


def erase(server: Server | None, *arguments: object) -> int:
    where = ["--folders-only"] if server is None else ["--url", server.url]
    return cli.main(["erase", *where, *map(str, arguments)])


def receipt(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def test_the_receipt_says_what_was_erased_where(
    server: Server, service: Service, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    snapshot(tmp_path / "s", USERS, ITEMS)
    bundle(tmp_path / "b", USERS[1:], ITEMS)
    where = ("--from", tmp_path / "s", tmp_path / "b")
    assert erase(server, "--user", "person-1", *where, "--receipt", tmp_path / "r.json") == 0
    document = receipt(capsys)
    assert document == json.loads((tmp_path / "r.json").read_bytes())
    assert (document["complete"], document["dry_run"]) == (True, False)
    salt = document["id_hash"]["salt"]
    assert document["service"] == {
        "url": server.url,
        "erased": [
            {
                "kind": "user",
                "id_hash": id_hash(salt, "person-1"),
                # The second is what `features` has asked for.
                "before": {"profiles": 2, "interactions": 2, "catalogue": 0},
                "after": {"profiles": 0, "interactions": 0, "catalogue": 0},
            }
        ],
        "activated": ["b"],
    }
    assert [(one["kind"], one["changed"]) for one in document["folders"]] == [
        ("snapshot", True),
        ("bundle", False),
    ]
    assert document["folders"][0]["rows"][0] == {
        "what": "profiles of users",
        "before": 3,
        "after": 2,
    }
    assert document["remains"][0] == COPIES[0]
    assert "person-1" not in json.dumps(document)
    assert "person-1" not in words(tmp_path)
    assert service.profiles == {"person-2"}


def test_the_active_bundle_is_activated_again_and_no_other(
    server: Server, service: Service, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("b", "c"):
        bundle(tmp_path / name, USERS, ITEMS)
    where = ("--user", "person-1", "--from", tmp_path / "b", tmp_path / "c")
    assert erase(server, *where, "--dry-run") == 0
    assert not [call for call in service.calls if call.startswith("POST ")]
    for _ in range(2):  # a run before may have been killed before it came to that
        service.calls.clear()
        assert erase(server, *where) == 0
        posts = [call for call in service.calls if call.startswith("POST ")]
        assert posts == ["POST /admin/scorers/b/activate"]
    service.active = "elsewhere"
    assert erase(server, *where) == 0
    capsys.readouterr()
    service.calls.clear()
    service.refuse_after = 6  # the user is erased, and the copies are known
    assert erase(server, *where) == 1
    assert "may be active and was not activated again" in capsys.readouterr().err


def test_another_receipt_has_other_hashes(
    server: Server, service: Service, capsys: pytest.CaptureFixture[str]
) -> None:
    found = []
    for _ in range(2):
        assert erase(server, "--user", "person-1") == 0
        found.append(receipt(capsys)["targets"])
    assert found[0] != found[1]


def test_a_dry_run_only_reads(
    server: Server, service: Service, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset(tmp_path / "d", USERS, ITEMS)
    before = words(tmp_path / "d")
    assert erase(server, "--user", "person-1", "--from", tmp_path / "d", "--dry-run") == 0
    document = receipt(capsys)
    assert document["service"]["erased"][0]["before"]["interactions"] == 2
    assert document["service"]["erased"][0]["after"] is None
    assert document["folders"][0]["changed"]
    assert words(tmp_path / "d") == before
    assert not [call for call in service.calls if not call.startswith("GET ")]


def test_an_item_leaves_the_catalogue_too(server: Server, service: Service) -> None:
    assert erase(server, "--item", "thing-1") == 0
    deleted = [call for call in service.calls if call.startswith("DELETE ")]
    assert deleted == ["DELETE /profiles/item/thing-1", "DELETE /items/thing-1"]


def test_several_are_erased_at_once(server: Server, service: Service, tmp_path: Path) -> None:
    (tmp_path / "ids").write_text("person-2\nperson-3\n")
    assert erase(server, "--user", "person-1", "--users-file", tmp_path / "ids") == 0
    assert [call for call in service.calls if call.startswith("DELETE ")] == [
        f"DELETE /profiles/user/{user}" for user in USERS
    ]


def test_an_unknown_folder_is_refused_before_anything_is_erased(
    server: Server, service: Service, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle(tmp_path / "b", USERS, ITEMS)
    (tmp_path / "notes").mkdir()
    before = words(tmp_path)
    where = ("--from", tmp_path / "b", "--from", tmp_path / "notes")
    assert erase(server, "--user", "person-1", *where) == 1
    assert "notes is no folder that can be rewritten" in capsys.readouterr().err
    assert service.calls == []
    assert words(tmp_path) == before


def test_a_service_that_refuses_leaves_the_folders_and_a_receipt_of_what_is_done(
    server: Server, service: Service, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle(tmp_path / "b", USERS, ITEMS)
    before = words(tmp_path / "b")
    service.refuse_after = 6  # the first user is done
    where = ("--user", "person-1", "--user", "person-2", "--from", tmp_path / "b")
    assert erase(server, *where) == 1
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert not document["complete"]
    assert len(document["service"]["erased"]) == 1
    assert "No folder was rewritten" in captured.err
    assert words(tmp_path / "b") == before


def test_a_service_that_is_away_is_told_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reclm_client.retries._uniform", lambda: 0.0)
    assert cli.main(["erase", "--url", "http://127.0.0.1:9", "--user", "x"]) == 1
    assert "the service at http://127.0.0.1:9: cannot connect" in capsys.readouterr().err


def test_one_folder_that_fails_costs_no_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle(tmp_path / "a", USERS, ITEMS)
    bundle(tmp_path / "b", USERS, ITEMS)
    (tmp_path / "a" / "item_bias.npy").write_bytes(b"")
    where = ("--from", tmp_path / "a", tmp_path / "b")
    assert erase(None, "--user", "person-1", *where) == 1
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert "item_bias.npy is damaged" in captured.err
    assert document["service"] is None
    assert [one["path"] for one in document["folders"]] == [str(tmp_path / "b")]
    assert "person-1" not in words(tmp_path / "b")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "nobody is named; give --user, --item or --users-file"),
        (("--user", ""), "is not the id of a user"),
        (("--user", "a", "--folders-only"), "--folders-only needs --from"),
        (("--user", "a", "--receipt", "."), "is there already"),
        (("--users-file", "nowhere"), "nowhere cannot be read"),
    ],
)
def test_wrong_usage_is_named(
    arguments: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["erase", *arguments]) == 2
    assert says in capsys.readouterr().err


def test_a_receipt_shows_no_password_of_the_url(
    server: Server, service: Service, capsys: pytest.CaptureFixture[str]
) -> None:
    url = server.url.replace("http://", "http://me:secret@")
    assert cli.main(["erase", "--url", url, "--user", "person-1"]) == 0
    assert receipt(capsys)["service"]["url"] == server.url
