"""The command line: wrong usage, refusals with their reasons, and reports of progress."""

from __future__ import annotations

import io
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest

from services import cli
from services.backfill import run as running
from services.backfill.manifest import OutputManifest
from services.backfill.outcomes import OutcomeCounts
from services.backfill.progress import Progress, clock
from tests.benchmarks.instant_backfill import InstantMaker
from tests.services.backfill.made import VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def interactions(tmp_path: Path) -> Path:
    path = tmp_path / "interactions.csv"
    rows = [f"u{number % 7},i{number % 5},{number}" for number in range(70)]
    path.write_text("user_id,item_id,timestamp\n" + "\n".join(rows) + "\n")
    return path


@pytest.fixture(autouse=True)
def instant(monkeypatch: pytest.MonkeyPatch) -> None:
    """Profiles cost nothing here."""
    monkeypatch.setattr(running, "maker_for", lambda _: InstantMaker(VERSION))


def backfill(*arguments: object, kind: str = "user") -> int:
    return cli.main(["backfill", "--kind", kind, *map(str, arguments)])


def test_a_job_tells_how_it_went(
    interactions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert backfill("--interactions", interactions, "--out", tmp_path / "out") == 0
    captured = capsys.readouterr()
    summary = json.loads(captured.out)
    assert (summary["status"], summary["rows"], summary["outcomes"]["generated"]) == (
        *("complete", 7, 7),
    )
    assert "7/7 rows" in captured.err
    manifest = OutputManifest.read(tmp_path / "out")
    assert manifest is not None
    assert (manifest.complete, manifest.rows, manifest.kind) == (True, 7, "user")
    assert manifest.version["digest"] == VERSION


class Forgetful(InstantMaker):
    """Of a service that has erased u3, or does not tell."""

    told: frozenset[str] | None = frozenset({"u3", "nobody"})

    async def erased(self) -> frozenset[str] | None:
        return self.told


def test_who_was_erased_is_left_out_and_leaves_an_earlier_output(
    interactions: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    arguments = ("--interactions", interactions, "--out", tmp_path / "out")
    assert backfill(*arguments) == 0
    capsys.readouterr()
    monkeypatch.setattr(running, "maker_for", lambda _: Forgetful(VERSION))
    assert backfill(*arguments) == 0
    captured = capsys.readouterr()
    summary = json.loads(captured.out)
    outcomes = summary["outcomes"]
    assert (summary["status"], summary["rows"]) == ("complete", 6)
    assert (outcomes["erased"], outcomes["unchanged"]) == (1, 6)
    assert "7/7 rows" in captured.err
    assert "1 erased" in captured.err
    parts = [pq.read_table(path) for path in (tmp_path / "out").glob("part-*.parquet")]
    ids = sorted(id_ for part in parts for id_ in part["id"].to_pylist())
    assert ids == ["u0", "u1", "u2", "u4", "u5", "u6"]

    assert backfill(*arguments, "--with-erased") == 0
    assert json.loads(capsys.readouterr().out)["rows"] == 7


def test_a_service_that_does_not_show_who_was_erased_costs_a_line(
    interactions: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Forgetful, "told", None)
    monkeypatch.setattr(running, "maker_for", lambda _: Forgetful(VERSION))
    assert backfill("--interactions", interactions, "--out", tmp_path / "out") == 0
    captured = capsys.readouterr()
    assert "the deny list was not consulted" in captured.err
    assert json.loads(captured.out)["rows"] == 7


def test_bad_rows_make_it_partial(interactions: Path, tmp_path: Path) -> None:
    with interactions.open("a") as file:
        file.write("u1,i1,yesterday-ish\n")
    assert backfill("--interactions", interactions, "--out", tmp_path / "out") == 3
    (bad,) = map(json.loads, (tmp_path / "out" / "bad-rows.ndjson").open())
    assert bad["where"].endswith("interactions.csv, line 72")
    assert "timestamp" in bad["why"]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--interactions", "nowhere.csv"], "nowhere.csv"),
        ([], "interactions or histories"),
        (["--interactions", "a.csv", "--histories", "b.ndjson"], "not both"),
        (["--interactions", "a.xlsx"], "a.xlsx"),
    ],
)
def test_an_input_that_cannot_be_read_is_named(
    arguments: list[str], why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.xlsx").touch()
    paths = [tmp_path / word if "." in word else word for word in arguments]
    assert backfill(*paths, "--out", tmp_path / "out") == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert why in error


@pytest.mark.parametrize(
    "arguments",
    [
        ["--history", "0"],
        ["--concurrency", "-1"],
        ["--dtype", "int8"],
        ["--partitions", "many"],
        ["--sample", "x"],
    ],
)
def test_misuse_exits_with_2(arguments: list[str], interactions: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as raised:
        backfill("--interactions", interactions, "--out", tmp_path / "out", *arguments)
    assert raised.value.code == 2
    assert not (tmp_path / "out").exists()


def test_a_folder_with_something_else_is_left_alone(
    interactions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.tex").write_text("ten years")
    assert backfill("--interactions", interactions, "--out", out) == 1
    assert "holds something other than a backfill" in capsys.readouterr().err
    assert [path.name for path in out.iterdir()] == ["thesis.tex"]


def test_a_folder_with_another_backfill_is_left_alone(
    interactions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert backfill("--interactions", interactions, "--out", out) == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    for arguments, what in (
        (["--dtype", "float32"], "dtype float16"),
        (["--partitions", "3"], "partitions 8"),
    ):
        assert backfill("--interactions", interactions, "--out", out, *arguments) == 1
        assert what in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_a_larger_input_keeps_to_the_partitions_there_are(
    interactions: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert backfill("--interactions", interactions, "--out", out, "--partitions", "2") == 0
    with interactions.open("a") as file:
        file.write("u77,i1,5\n")
    assert backfill("--interactions", interactions, "--out", out) == 0
    manifest = OutputManifest.read(out)
    assert manifest is not None
    assert (manifest.partitions, manifest.rows) == (2, 8)


def test_a_damaged_manifest_is_named(
    interactions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    for text in ("{", "[]", '{"format": 99}', '{"format": 1}'):
        (out / "manifest.json").write_text(text)
        assert backfill("--interactions", interactions, "--out", out) == 1
        assert "manifest.json" in capsys.readouterr().err


def test_a_dry_run_says_what_would_be_done(
    interactions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert backfill("--interactions", interactions, "--out", out, "--dry-run", "--sample", "3") == 0
    said = capsys.readouterr().out
    assert "70 rows of input, 0 of them bad" in said
    assert "7 profiles, 0 of them done, 7 to make" in said
    assert "Estimated from 3 rows" in said
    assert not list(out.glob("part-*"))
    assert backfill("--interactions", interactions, "--out", out) == 0
    capsys.readouterr()
    assert backfill("--interactions", interactions, "--out", out, "--dry-run") == 0
    assert "7 profiles, 7 of them done, 0 to make" in capsys.readouterr().out


@pytest.fixture
def gateway() -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """A push gateway that keeps each path and body."""
    pushed: list[tuple[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            pushed.append((self.path, body.decode()))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Keeps quiet."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", pushed
        server.shutdown()


def test_a_push_gateway_is_told(
    interactions: Path, tmp_path: Path, gateway: tuple[str, list[tuple[str, str]]]
) -> None:
    url, pushed = gateway
    arguments = ("--interactions", interactions, "--out", tmp_path / "out", "--push-gateway", url)
    assert backfill(*arguments) == 0
    path, body = pushed[-1]
    assert path == "/metrics/job/reclm_backfill/kind/user"
    assert 'reclm_backfill_rows{outcome="generated"} 7.0' in body


def test_a_push_gateway_that_is_away_stops_nothing(interactions: Path, tmp_path: Path) -> None:
    arguments = ("--interactions", interactions, "--out", tmp_path / "out")
    assert backfill(*arguments, "--push-gateway", "http://127.0.0.1:9") == 0


def test_progress_says_how_far_it_is() -> None:
    counts = OutcomeCounts(generated=30, cached=10, failed=2, unchanged=5)
    progress = Progress(counts, 1_000, limit=lambda: 24, stream=io.StringIO())
    with progress:
        line = progress.line()
    assert line.startswith("47/1,000 rows")
    for words in ("25% hits", "2 failed", "5 done before", "24 at a time"):
        assert words in line


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.4, "0:00"), (75, "1:15"), (3_600, "1:00:00"), (90_061, "25:01:01")]
)
def test_durations_read_as_on_a_clock(seconds: float, shown: str) -> None:
    assert clock(seconds) == shown
