"""`reclm-serve backfill` on the real stack, through everything that can happen to a long job."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recommenders.data.readers.movielens import fetch_ml_100k
from services.profiles.models import Profile, ProfileKey, ProfileText
from services.profiles.requests import ProfileRequest
from services.profiles.stores import codec, keys
from tests.support.proxy import Proxy
from tests.support.ray_cluster import RayCluster, ray_cluster
from tests.support.servers import RedisServer, Service, metric
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from recommenders.data.dataset import Dataset

pytestmark = [pytest.mark.stack, pytest.mark.model, pytest.mark.timeout(1500)]

USERS = 2_000
NEW = 150
"""Users of whom the service has no profile yet: each takes the model a quarter of a second."""
HISTORY = 5
COLUMNS = ["id", "text", "vector", "version", "input_hash", "created_at"]
"""What is the same however often a job was interrupted: all but how an answer was come by."""


@dataclass
class Stack:
    """Redis that survives its death, and the service, which reaches the model through a proxy."""

    redis: RedisServer
    model: Proxy
    service: Service
    env: dict[str, str]

    def calls(self) -> int:
        """Returns how often the service has had an answer from the model."""
        return metric(self.service.url, "reclm_model_seconds_count")

    def forget(self, ids: list[str], kind: Any = "user") -> None:
        names = [keys.profile(ProfileKey("default", kind, id_)) for id_ in ids]
        self.redis.client().delete(*names)


@pytest.fixture(scope="module")
def stack(
    service_env: dict[str, str], vllm_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("backfill")
    redis = RedisServer(folder, persistent=True)
    redis.start()
    model = Proxy(httpx.URL(vllm_url).port or 80)
    env = {
        **service_env,
        "RECLM_REDIS_URL": redis.url,
        "RECLM_VLLM_URL": f"http://127.0.0.1:{model.port}",
        # Redis writes every change to the disk here, and a disk may stand still for a while.
        "RECLM_LEASE_S": "15",
    }
    service = Service(folder, workers=2, env=env)
    service.start()
    yield Stack(redis, model, service, env)
    service.process.stop()
    model.close()
    redis.process.stop()


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return fetch_ml_100k()


@pytest.fixture(scope="module")
def films(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("input") / "items.parquet"
    pq.write_table(dataset.items, path)
    return path


def write_interactions(dataset: Dataset, path: Path, users: int) -> list[str]:
    """Writes what so many users chose; when MovieLens has no more, they come again as others."""
    table = dataset.interactions.select(["user_id", "item_id", "timestamp"])
    real = table["user_id"].unique().to_pylist()
    ids = [f"{real[n % len(real)]}/{n // len(real)}" for n in range(users)]
    rounds = []
    for again in range(-(-users // len(real))):
        names = pa.array([f"{id_}/{again}" for id_ in table["user_id"].to_pylist()])
        rounds.append(table.set_column(0, "user_id", names))
    everything = pa.concat_tables(rounds)
    wanted = pa.compute.is_in(everything["user_id"], value_set=pa.array(ids))
    pq.write_table(everything.filter(wanted), path)
    return ids


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayCluster]:
    """Two nodes that run partitions, and a head that runs none."""
    with ray_cluster(workers=2) as cluster:
        yield cluster


@pytest.fixture(params=["local", "ray"])
def engine(request: pytest.FixtureRequest, stack: Stack) -> list[str]:
    """The arguments for either engine."""
    if request.param == "local":
        return []
    cluster: RayCluster = request.getfixturevalue("cluster")
    stack.env.update(cluster.env)
    return over(cluster)


def over(cluster: RayCluster) -> list[str]:
    return ["--engine", "ray", "--ray-address", cluster.address]


def command(out: Path, *arguments: str | Path, kind: str = "user") -> list[str]:
    start = [sys.executable, "-m", "services.cli", "backfill", "--kind", kind, "--out", str(out)]
    return [*start, "--history", str(HISTORY), *map(str, arguments)]


def backfill(
    stack: Stack, out: Path, *arguments: str | Path, kind: str = "user", status: int = 0
) -> dict[str, Any]:
    """Runs a job to its end; returns its summary."""
    done = subprocess.run(
        [*command(out, *arguments, kind=kind), *reach(stack, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **stack.env},
    )
    assert done.returncode == status, f"{done.returncode}: {done.stderr[-3000:]}"
    summary: dict[str, Any] = json.loads(done.stdout.splitlines()[-1]) if done.stdout else {}
    return summary


def reach(stack: Stack, arguments: tuple[str | Path, ...]) -> list[str]:
    return [] if "--direct" in arguments else ["--url", stack.service.url]


@contextmanager
def begun(stack: Stack, out: Path, *arguments: str | Path) -> Iterator[subprocess.Popen[str]]:
    """A job under way, in a process group of its own; killed with it at the end."""
    with subprocess.Popen(
        [*command(out, *arguments), *reach(stack, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, **stack.env},
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            kill(process)


def kill(process: subprocess.Popen[str]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait()


def read(out: Path) -> pa.Table:
    """Returns the output as its manifest lists it, in order of id; every id is there once."""
    manifest = json.loads((out / "manifest.json").read_bytes())
    assert manifest["complete"] is True
    tables = [pq.read_table(out / part["file"]) for part in manifest["parts"]]
    table = pa.concat_tables(tables).sort_by("id")
    ids = table["id"].to_pylist()
    assert len(ids) == len(set(ids)) == manifest["rows"]
    listed = {part["file"] for part in manifest["parts"]}
    assert {path.name for path in out.glob("part-*")} == listed
    return table


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def make_known(stack: Stack, dataset: Dataset, ids: list[str]) -> None:
    """Gives users the profile that the service would have for them had it been asked before."""
    source = {"id": "source", "history": [{"title": "Heat (1995)"}]}
    httpx.post(f"{stack.service.url}/profiles/user", json=source, timeout=60).raise_for_status()
    redis = stack.redis.client()
    stored = codec.look(redis.get(keys.profile(ProfileKey("default", "user", "source"))))
    assert stored is not None
    histories = dataset.histories()
    with redis.pipeline() as pipeline:
        for id_ in ids:
            key = ProfileKey("default", "user", id_)
            history = tuple(histories[id_.split("/")[0]][-HISTORY:])
            profile = Profile(
                id=id_,
                words=ProfileText("user", (f"reader {id_}", "b", "c"), ("d", "e", "f")),
                vector=stored.vector,
                version_digest=stored.version_digest,
                input_hash=stored.input_hash,
                request_digest=ProfileRequest(key, history).digest(),
                created_ms=stored.created_ms,
            )
            pipeline.set(keys.profile(key), codec.encode(profile))
        pipeline.execute()


@dataclass
class Filled:
    """2,000 users, and the output of a job that was killed ten times on its way to them."""

    out: Path
    interactions: Path
    ids: list[str]


@pytest.fixture(scope="module")
def filled(
    stack: Stack, dataset: Dataset, films: Path, tmp_path_factory: pytest.TempPathFactory
) -> Filled:
    folder = tmp_path_factory.mktemp("filled")
    interactions = folder / "interactions.parquet"
    ids = write_interactions(dataset, interactions, USERS)
    shuffled = random.Random(0)
    make_known(stack, dataset, shuffled.sample(ids, USERS - NEW))
    out = folder / "out"
    for _ in range(10):
        with begun(stack, out, "--interactions", interactions, "--items", films) as process:
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(shuffled.uniform(0.5, 8))
            kill(process)
        for part in out.glob("part-*.parquet"):
            pq.read_table(part)  # whole, wherever the job was
    calls = stack.calls()
    summary = backfill(stack, out, "--interactions", interactions, "--items", films)
    assert (summary["status"], summary["rows"]) == ("complete", USERS)
    assert stack.calls() > calls
    return Filled(out, interactions, ids)


def test_ten_kills_leave_the_output_of_one_uninterrupted_run(
    stack: Stack, films: Path, filled: Filled, tmp_path: Path
) -> None:
    calls = stack.calls()
    summary = backfill(
        stack, tmp_path / "out", "--interactions", filled.interactions, "--items", films
    )
    killed, uninterrupted = read(filled.out), read(tmp_path / "out")

    assert killed["id"].to_pylist() == sorted(filled.ids)
    assert killed.select(COLUMNS).equals(uninterrupted.select(COLUMNS))
    assert summary["outcomes"]["cached"] == USERS
    assert stack.calls() == calls
    vectors = np.stack(killed["vector"].combine_chunks().to_numpy(zero_copy_only=False))
    np.testing.assert_allclose(np.linalg.norm(vectors.astype(np.float32), axis=1), 1, atol=2e-3)
    assert sorted(path.name for path in filled.out.iterdir() if "part-" not in path.name) == [
        "bad-rows.ndjson",
        "failures.ndjson",
        "manifest.json",
        "refused-items.ndjson",
    ]


def test_what_is_done_is_not_asked_for_again(
    stack: Stack, films: Path, filled: Filled, engine: list[str]
) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in filled.out.glob("part-*")}
    requests = metric(stack.service.url, "reclm_http_request_seconds_count", route="/profiles/user")
    arguments = ["--interactions", filled.interactions, "--items", films, *engine]
    summary = backfill(stack, filled.out, *arguments)
    assert (summary["status"], summary["rows"]) == ("complete", USERS)
    assert summary["outcomes"]["unchanged"] == USERS
    after = metric(stack.service.url, "reclm_http_request_seconds_count", route="/profiles/user")
    assert after == requests
    assert {path.name: path.stat().st_mtime_ns for path in filled.out.glob("part-*")} == before


def test_without_the_service_the_output_is_the_same(
    stack: Stack, films: Path, filled: Filled, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    summary = backfill(
        stack, out, "--interactions", filled.interactions, "--items", films, "--direct"
    )
    assert summary["outcomes"]["cached"] == USERS
    assert read(out).select(COLUMNS).equals(read(filled.out).select(COLUMNS))

    stack.forget(filled.ids[-3:])
    calls = stack.calls()
    again = tmp_path / "again"
    summary = backfill(
        stack, again, "--interactions", filled.interactions, "--items", films, "--direct"
    )
    assert summary["outcomes"]["generated"] == 3
    assert stack.calls() == calls


def test_a_cluster_that_loses_a_node_writes_each_row_once(
    stack: Stack, films: Path, filled: Filled, cluster: RayCluster, tmp_path: Path
) -> None:
    gone = random.Random(1).sample(filled.ids, 90)
    stack.forget(gone)
    stack.env.update(cluster.env)
    out = tmp_path / "out"
    arguments = ["--interactions", filled.interactions, "--items", films, *over(cluster)]
    with begun(stack, out, *arguments) as process:
        calls = stack.calls()
        eventually(lambda: stack.calls() > calls + 20, timeout_s=120)
        cluster.kill_worker()
        stdout, _ = process.communicate(timeout=400)
    cluster.add_worker()

    assert process.returncode == 0
    summary = json.loads(stdout.splitlines()[-1])
    assert (summary["status"], summary["rows"]) == ("complete", USERS)
    arguments = ["--interactions", filled.interactions, "--items", films]
    undisturbed = backfill(stack, tmp_path / "undisturbed", *arguments)
    assert undisturbed["outcomes"]["cached"] == USERS
    assert read(out).select(COLUMNS).equals(read(tmp_path / "undisturbed").select(COLUMNS))


@dataclass
class Few:
    """A handful of users, each with two films."""

    folder: Path
    interactions: Path
    items: Path
    ids: list[str]

    def write(self, rows: list[tuple[Any, Any]], items: list[dict[str, Any]]) -> None:
        self.interactions.write_text(
            "".join(json.dumps({"user_id": user, "item_id": item}) + "\n" for user, item in rows)
        )
        self.items.write_text("".join(json.dumps(item) + "\n" for item in items))

    def arguments(self) -> list[str | Path]:
        return ["--interactions", self.interactions, "--items", self.items]


ITEMS = [
    {"item_id": f"few {name}", "title": f"{name} (1995)", "category": category}
    for name, category in (
        ("Heat", "Action, Crime, Thriller"),
        ("Babe", "Children's, Comedy, Drama"),
        ("Casino", "Drama"),
        ("Toy Story", "Animation, Children's, Comedy"),
    )
]


@pytest.fixture
def few(tmp_path: Path, request: pytest.FixtureRequest) -> Few:
    folder = tmp_path / "few"
    folder.mkdir()
    ids = [f"{request.node.name} {number:02}" for number in range(12)]
    few = Few(folder, folder / "interactions.ndjson", folder / "items.ndjson", ids)
    few.write(choices(ids), ITEMS)
    return few


def choices(ids: list[str]) -> list[tuple[Any, Any]]:
    return [
        (id_, ITEMS[(number + step) % len(ITEMS)]["item_id"])
        for number, id_ in enumerate(ids)
        for step in range(2)
    ]


def test_what_has_changed_is_made_anew(
    stack: Stack, few: Few, tmp_path: Path, engine: list[str]
) -> None:
    out = tmp_path / "out"
    backfill(stack, out, *few.arguments(), *engine)
    first = {row["id"]: row for row in read(out).to_pylist()}

    longer, gone = few.ids[0], few.ids[1]
    rows = [row for row in choices(few.ids) if row[0] != gone]
    retitled = [{**ITEMS[0], "title": "Heat: the director's cut (1995)"}, *ITEMS[1:]]
    few.write([*rows, (longer, ITEMS[2]["item_id"])], retitled)
    heat = {user for user, item in rows if item == ITEMS[0]["item_id"]}
    summary = backfill(stack, out, *few.arguments(), *engine)

    second = {row["id"]: row for row in read(out).to_pylist()}
    changed = {id_ for id_ in second if second[id_]["input_hash"] != first[id_]["input_hash"]}
    assert changed == heat | {longer}
    assert second.keys() == first.keys() - {gone}
    assert summary["outcomes"]["generated"] == len(changed)
    assert all(second[id_] == first[id_] for id_ in second.keys() - changed)


def test_poison_costs_only_itself(
    stack: Stack, few: Few, tmp_path: Path, engine: list[str]
) -> None:
    long = {"item_id": "few long", "title": "x" * 1_000_000}
    few.write(choices(few.ids), [*ITEMS, long, {"item_id": ["few"], "title": "list"}])
    with few.interactions.open("ab") as file:
        file.write(b'{"user_id": "poison unknown", "item_id": "no such item"}\n')
        file.write(b'{"user_id": "poison long", "item_id": "few long"}\n')
        file.write(b'{"user_id": {"a": 1}, "item_id": "few Heat"}\n')
        file.write(b'{"user_id": null, "item_id": "few Heat"}\n')
        file.write(b'{"user_id": "cut off", "item\n')
        file.write(b'{"user_id": "\xff\xfe", "item_id": "few Heat"}\n')
        file.write(b'{"user_id": "%s", "item_id": "few Heat"}\n' % (b"y" * 1_000_000))
    out = tmp_path / "out"
    summary = backfill(stack, out, *few.arguments(), *engine, status=3)

    assert summary["status"] == "partial"
    assert read(out)["id"].to_pylist() == few.ids
    assert summary["outcomes"]["failed"] == 2
    failures = {row["id"]: row for row in lines(out / "failures.ndjson")}
    assert failures["poison unknown"]["error"]["code"] == "unknown-items"
    assert "no such item" in failures["poison unknown"]["history"]
    assert failures["poison long"]["error"]["code"] == "unknown-items"
    bad = lines(out / "bad-rows.ndjson")
    assert len(bad) == summary["bad_rows"] == 6
    assert all("line" in row["where"] and row["why"] for row in bad)
    (refused,) = lines(out / "refused-items.ndjson")
    assert refused["item_id"] == "few long"
    assert len(refused["title"]) < 10_000

    # Mended, the failures are an input again.
    mended = tmp_path / "mended.ndjson"
    mended.write_text(json.dumps({**failures["poison unknown"], "history": ["few Heat"]}) + "\n")
    summary = backfill(stack, tmp_path / "mended", "--histories", mended, *engine)
    assert (summary["status"], summary["rows"]) == ("complete", 1)


def test_items_that_are_gone_can_be_left_out(stack: Stack, few: Few, tmp_path: Path) -> None:
    few.write([*choices(few.ids), (few.ids[0], "gone"), ("nothing left", "gone")], ITEMS)
    out = tmp_path / "out"
    summary = backfill(stack, out, *few.arguments(), "--unknown-items", "drop", status=3)
    assert read(out)["id"].to_pylist() == few.ids
    assert [row["id"] for row in lines(out / "failures.ndjson")] == ["nothing left"]
    assert summary["outcomes"]["failed"] == 1


def test_a_run_of_failures_ends_the_job_with_its_cause(
    stack: Stack, few: Few, tmp_path: Path
) -> None:
    few.write([(f"nobody {number}", "no such item") for number in range(500)], ITEMS)
    out = tmp_path / "out"
    done = subprocess.run(
        [*command(out, *few.arguments()), "--url", stack.service.url],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "the last 100 rows have all failed, 100 of them with unknown-items" in done.stderr
    assert json.loads(done.stdout)["outcomes"]["failed"] < 500
    assert 100 <= len(lines(out / "failures.ndjson")) < 500


def test_items_are_profiled_from_the_catalogue(stack: Stack, few: Few, tmp_path: Path) -> None:
    out = tmp_path / "out"
    summary = backfill(stack, out, "--items", few.items, kind="item")
    assert (summary["status"], summary["rows"]) == ("complete", len(ITEMS))
    assert all(text.startswith("Item identity: ") for text in read(out)["text"].to_pylist())


def test_redis_and_the_model_go_and_come_back_in_the_middle(
    stack: Stack, few: Few, tmp_path: Path, engine: list[str]
) -> None:
    ids = [f"{few.ids[0]} {number:03}" for number in range(60)]
    few.write(choices(ids), ITEMS)
    out = tmp_path / "out"
    with begun(stack, out, *few.arguments(), *engine) as process:
        calls = stack.calls()
        eventually(lambda: stack.calls() > calls + 3, timeout_s=60)
        stack.redis.process.kill()
        time.sleep(2)
        stack.redis.start()
        calls = stack.calls()
        eventually(lambda: stack.calls() > calls + 3, timeout_s=60)
        stack.model.set("refuse")
        time.sleep(5)
        stack.model.set("pass")
        stdout, _ = process.communicate(timeout=200)

    assert process.returncode == 0
    summary = json.loads(stdout)
    assert (summary["status"], summary["rows"], summary["outcomes"]["failed"]) == (
        "complete",
        60,
        0,
    )
    assert summary["outcomes"]["pushed_back"] > 0
    assert read(out)["id"].to_pylist() == ids


def test_sigterm_ends_it_in_order_and_the_next_run_goes_on(
    stack: Stack, few: Few, tmp_path: Path, engine: list[str]
) -> None:
    ids = [f"{few.ids[0]} {number:03}" for number in range(60)]
    few.write(choices(ids), ITEMS)
    out = tmp_path / "out"
    # Few at a time, so that some are left.
    with begun(stack, out, *few.arguments(), *engine, "--concurrency", "4") as process:
        calls = stack.calls()
        eventually(lambda: stack.calls() > calls + 10, timeout_s=60)
        process.send_signal(signal.SIGTERM)
        stdout, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    stopped = json.loads(stdout)
    assert stopped["status"] == "stopped"
    made = stopped["outcomes"]["generated"]
    assert 0 < made < 60
    assert json.loads((out / "manifest.json").read_bytes())["complete"] is False

    summary = backfill(stack, out, *few.arguments())
    assert summary["outcomes"]["unchanged"] == made
    assert read(out)["id"].to_pylist() == ids


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"a small disk takes the right to mount one: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_ends_it_and_with_room_it_goes_on(
    stack: Stack, filled: Filled, small_disk: Path, dataset: Dataset, engine: list[str]
) -> None:
    interactions = filled.interactions.with_name("first-300.parquet")
    ids = write_interactions(dataset, interactions, 300)
    assert set(ids) <= set(filled.ids)
    out = small_disk / "out"
    arguments = ["--interactions", interactions, *engine]
    done = subprocess.run(
        [*command(out, *arguments), "--url", stack.service.url],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **stack.env},
    )
    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    for part in out.glob("part-*.parquet"):
        pq.read_table(part)

    remount = ["mount", "-o", "remount,size=16m", str(small_disk)]
    subprocess.run(remount, check=True)
    summary = backfill(stack, out, *arguments)
    assert summary["status"] == "complete"
    undisturbed = filled.interactions.with_name(f"undisturbed-{len(engine)}")
    backfill(stack, undisturbed, "--interactions", interactions)
    assert read(out)["id"].to_pylist() == sorted(ids)
    assert read(out).select(COLUMNS).equals(read(undisturbed).select(COLUMNS))


def test_a_dry_run_counts_and_estimates(
    stack: Stack, films: Path, filled: Filled, tmp_path: Path
) -> None:
    done = subprocess.run(
        [
            *command(tmp_path / "out", "--interactions", filled.interactions, "--items", films),
            *("--url", stack.service.url, "--dry-run", "--sample", "4", "--refresh"),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "2,000 profiles, 0 of them done, 2,000 to make" in done.stdout
    assert "tokens to read" in done.stdout
    assert not list((tmp_path / "out").glob("part-*"))


def test_a_second_job_in_the_folder_is_refused(stack: Stack, few: Few, tmp_path: Path) -> None:
    out = tmp_path / "out"
    few.write(choices([f"{few.ids[0]} {number}" for number in range(40)]), ITEMS)
    with begun(stack, out, *few.arguments()):
        eventually((out / "manifest.json").exists, timeout_s=30)
        second = subprocess.run(
            [*command(out, *few.arguments()), "--url", stack.service.url],
            capture_output=True,
            text=True,
            check=False,
        )
    assert second.returncode == 1
    assert "another backfill is at work" in second.stderr
