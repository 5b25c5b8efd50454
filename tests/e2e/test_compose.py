"""docker-compose up: the whole stack in containers, through what happens to it on a server.

The tests are steps of one story and run in this order. Building takes minutes the first time, and
seconds when nothing has changed.
"""

from __future__ import annotations

import csv
import json
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from services.commands.backfill import PARTIAL
from tests.support import compose
from tests.support.compose import Compose, docker
from tests.support.profiles import BABE, CASINO, HEAT, TOY_STORY, assert_well_formed
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WHY_NOT = compose.why_not()

pytestmark = [
    pytest.mark.stack,
    pytest.mark.model,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(WHY_NOT is not None, reason=f"the stack in containers: {WHY_NOT}"),
]

IMAGES = ("reclm-service", "reclm-fetch", "reclm-jobs", "reclm-vllm-cpu")
MOST_MB = 450
BASE_MB = 150
"""What python:3.11-slim-bookworm takes as it is published; one made elsewhere may be larger."""

FILMS = [HEAT, CASINO, BABE, TOY_STORY]
USERS = 200
DRAIN_S = 30

GRID = """\
name: films
dataset: films
split: {kind: random}
seeds: [1]
text: [title, category]
profiles: films-profiles
training: {max_steps: 12, eval_steps: 4, batch_size: 64, learning_rate: 0.01}
models:
  - {name: lightgcn, options: {variant: augmented, layers: 1, embedding_size: 8}}
"""


class Stack:
    """The running containers, and a client that shows the key."""

    def __init__(self, containers: Compose) -> None:
        self.compose = containers
        self.api = httpx.Client(
            base_url=containers.url,
            timeout=120,
            headers={"Authorization": f"Bearer {containers.key}"},
        )
        self.admin = {"Authorization": f"Bearer {containers.admin_key}"}

    def ask(self, id_: str, *history: dict[str, str] | str, **options: Any) -> httpx.Response:
        return self.api.post("/profiles/user", json={"id": id_, "history": history, **options})

    def profile(self, id_: str, *history: dict[str, str] | str, **options: Any) -> dict[str, Any]:
        response = self.ask(id_, *history, **options)
        assert response.status_code == 200, response.text
        profile: dict[str, Any] = response.json()
        assert_well_formed(profile)
        return profile

    def ready(self) -> str:
        """Returns the service's own word, empty while it says none."""
        try:
            return str(self.api.get("/readyz", timeout=5).json()["status"])
        except (httpx.HTTPError, ValueError):
            return ""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    containers = Compose(tmp_path_factory.mktemp("compose"))
    try:
        containers.run("build", "fetch", "vllm", "service", "recommend", timeout_s=1500)
        containers.run("up", "-d")
        running = Stack(containers)
        eventually(lambda: running.ready() == "ready", timeout_s=120)
        yield running
        running.api.close()
    finally:
        containers.remove()


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Films, what many users chose of them, and what a few did, for the recommender."""
    folder = tmp_path_factory.mktemp("inputs")
    folder.chmod(0o755)
    with (folder / "items.csv").open("w", newline="") as file:
        rows = csv.DictWriter(file, ["item_id", "title", "category"])
        rows.writeheader()
        for number, film in enumerate(FILMS * 4):
            title = f"{film['title']} {number}"
            rows.writerow({"item_id": f"m{number}", "title": title, "category": film["category"]})
    for name, users, each in (("many", USERS, 2), ("few", 24, 8)):
        with (folder / f"{name}.csv").open("w", newline="") as file:
            lines = csv.writer(file)
            lines.writerow(["user_id", "item_id", "timestamp"])
            for user in range(users):
                for step in range(each):
                    item = (user + step * step) % (4 * len(FILMS))
                    lines.writerow([f"{name}{user}", f"m{item}", 1_000_000 + user * 10 + step])
    (folder / "grid.yaml").write_text(GRID)
    return folder


def test_only_the_services_port_is_published_and_on_loopback(stack: Stack) -> None:
    published = {
        one["Config"]["Labels"]["com.docker.compose.service"]: bindings
        for one in stack.compose.containers()
        if (bindings := one["HostConfig"]["PortBindings"])
    }
    port = [{"HostIp": "127.0.0.1", "HostPort": str(stack.compose.port)}]
    assert published == {"service": {"8080/tcp": port}}
    for service in ("redis", "vllm"):
        networks = stack.compose.container(service)["NetworkSettings"]["Networks"]
        (name,) = networks
        assert json.loads(docker("network", "inspect", name))[0]["Internal"]


def test_no_container_is_root_or_can_write_to_its_root(stack: Stack) -> None:
    for one in stack.compose.containers():
        assert one["HostConfig"]["ReadonlyRootfs"], one["Name"]
        assert one["Config"]["User"] in {"10001:10001", "999:999"}, one["Name"]
        assert one["HostConfig"]["CapDrop"] == ["ALL"], one["Name"]
        assert "no-new-privileges:true" in one["HostConfig"]["SecurityOpt"], one["Name"]


def test_every_container_has_limits(stack: Stack) -> None:
    for one in stack.compose.containers():
        assert 0 < one["HostConfig"]["Memory"] <= 16 * 2**30, one["Name"]
        assert 0 < one["HostConfig"]["PidsLimit"] <= 4096, one["Name"]


def test_vllm_answers_only_who_has_its_key(stack: Stack) -> None:
    code = (
        "import urllib.error, urllib.request\n"
        "for path in ('/health', '/v1/models', '/v1/load_lora_adapter'):\n"
        "    url = 'http://vllm:8000' + path\n"
        "    data = b'{}' if 'load' in path else None\n"
        "    try:\n"
        "        print(path, urllib.request.urlopen(url, data, timeout=30).status)\n"
        "    except urllib.error.HTTPError as error:\n"
        "        print(path, error.code)\n"
    )
    said = stack.compose.run("exec", "-T", "service", "python", "-c", code)
    assert said.split() == ["/health", "200", "/v1/models", "401", "/v1/load_lora_adapter", "401"]


def test_the_services_image_is_small_and_has_neither_compiler_nor_torch(stack: Stack) -> None:
    service, base = (
        int(docker("image", "inspect", "--format", "{{.Size}}", image)) / 1e6
        for image in ("reclm-service", "python:3.11-slim-bookworm")
    )
    assert service - base + min(base, BASE_MB) <= MOST_MB
    found = docker(
        *("run", "--rm", "--network", "none", "--entrypoint", "sh", "reclm-service", "-c"),
        "for one in gcc cc c++ clang; do command -v $one; done; python -c 'import torch'; true",
    )
    assert found == ""


def test_the_image_for_gpus_builds_on_a_base_that_is_here() -> None:
    """The image that vLLM publishes has some 10 GB; what is put on top of it is built on a small one."""
    tag = "reclm-vllm-cuda-test"
    docker(
        *("build", "-t", tag, "-f", str(compose.ROOT / "deploy/vllm/cuda.Dockerfile")),
        *("--build-arg", "VLLM_IMAGE=python:3.11-slim-bookworm", str(compose.ROOT)),
    )
    try:
        (built,) = json.loads(docker("image", "inspect", tag))
    finally:
        docker("rmi", tag)
    assert built["Config"]["User"] == "10001:10001"


@pytest.mark.parametrize("image", IMAGES)
def test_no_secret_is_in_a_layer(stack: Stack, image: str) -> None:
    told = docker("history", "--no-trunc", image) + docker("image", "inspect", image)
    for secret in stack.compose.secrets.values():
        assert not any(part in told for part in secret.split())
    assert "INDEX_URL" not in told
    labels = json.loads(docker("image", "inspect", image))[0]["Config"]["Labels"]
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"


def test_what_is_installed_is_what_was_tested(stack: Stack) -> None:
    lines = (compose.ROOT / "constraints.txt").read_text().lower().replace("_", "-").splitlines()
    tested = set(lines)
    show = "import importlib.metadata as m\nfor d in m.distributions(): print(d.name, d.version)"
    for image in ("reclm-service", "reclm-jobs"):
        printed = docker(
            "run", "--rm", "--network", "none", "--entrypoint", "python", image, "-c", show
        )
        for line in printed.splitlines():
            name, version = line.lower().replace("_", "-").split()
            if name not in {"pip", "setuptools"}:
                assert f"{name}=={version.removesuffix('+cpu')}" in tested


def test_a_new_user_is_turned_away(stack: Stack) -> None:
    body = {"id": "ann", "history": [HEAT]}
    url = stack.compose.url
    assert httpx.post(f"{url}/profiles/user", json=body).status_code == 401
    assert httpx.get(f"{url}/healthz").status_code == 200
    assert stack.api.get("/metrics").status_code == 403
    assert stack.api.get("/metrics", headers=stack.admin).status_code == 200


def test_a_public_address_needs_keys(stack: Stack) -> None:
    refused = docker(
        *("run", "--rm", "-e", "RECLM_BIND=0.0.0.0", "--entrypoint", "sh", "reclm-service"),
        *("-c", "python -m services.cli run --host 0.0.0.0 2>&1; echo ended with $?"),
    )
    assert "RECLM_API_KEYS" in refused
    assert refused.endswith("ended with 2\n")


def test_the_commands_of_the_readme_work(stack: Stack) -> None:
    readme = (compose.ROOT / "README.md").read_text()
    section = readme.split("## In containers", 1)[1].split("\n## ", 1)[0]
    commands = [line[4:] for line in section.splitlines() if line.startswith("    ")]
    first, up, *call, down = commands
    # What the fixture did, what the last test does, and between them the call as it stands there.
    assert (first, up) == ("deploy/secrets.sh", "docker-compose up -d --build")
    assert down == "docker-compose down"
    asked = "\n".join(call).replace("http://127.0.0.1:8080", stack.compose.url)
    asked = asked.replace("deploy/secrets/", f"{stack.compose.secrets_folder}/")
    done = subprocess.run(["bash", "-c", asked], capture_output=True, text=True, check=True)
    assert_well_formed(json.loads(done.stdout))


def test_a_miss_is_generated_and_then_a_hit(stack: Stack) -> None:
    first = stack.profile("ann", HEAT, CASINO)
    assert first["status"] == "generated"
    assert stack.profile("ann", HEAT, CASINO) == {**first, "status": "cached"}


def test_a_backfill_profiles_everyone(stack: Stack, inputs: Path) -> None:
    out = "/var/lib/reclm/output/many"
    arguments = ["--kind", "user", "--interactions", "/input/many.csv"]
    arguments += ["--items", "/input/items.csv", "--out", out]
    told = stack.compose.job("backfill", *arguments, mount=inputs, ends={0, PARTIAL})
    rows = json.loads(told.splitlines()[-1])["rows"]
    # The model is small: now and then what it writes is no profile, however often it is asked.
    assert rows >= 0.95 * USERS
    assert len(stored(stack)) == rows


def stored(stack: Stack) -> list[str]:
    """Returns those of the backfill's users who have a profile."""
    ids = [f"many{user}" for user in range(USERS)]
    return [id_ for id_ in ids if stack.api.get(f"/profiles/user/{id_}").status_code == 200]


def test_redis_is_killed_and_comes_back_with_everything(stack: Stack) -> None:
    before, known = stack.profile("ann", HEAT, CASINO), stored(stack)
    started = stack.compose.container("redis")["State"]["StartedAt"]
    stack.compose.crash("redis")
    eventually(lambda: stack.compose.container("redis")["State"]["StartedAt"] != started)
    eventually(lambda: stack.ready() == "ready", timeout_s=60)
    assert stack.profile("ann", HEAT, CASINO) == before
    assert stored(stack) == known


def test_without_vllm_hits_go_on_and_misses_are_told_when_to_return(stack: Stack) -> None:
    before = stack.profile("ann", HEAT, CASINO)
    stack.compose.crash("vllm")
    missed = stack.ask("bob", BABE)
    assert missed.status_code == 503, missed.text
    assert missed.json()["code"] == "model-unavailable"
    assert int(missed.headers["Retry-After"]) >= 1
    assert stack.profile("ann", HEAT, CASINO) == before
    assert stack.ready() == "degraded"

    eventually(lambda: stack.ask("bob", BABE).status_code == 200, timeout_s=300)
    assert stack.profile("bob", BABE)["status"] == "cached"


def test_stopping_loses_no_request_under_way(stack: Stack) -> None:
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(stack.ask, f"last{number}", HEAT, BABE) for number in range(8)]
        time.sleep(0.5)
        began = time.monotonic()
        stack.compose.run("stop", "service")
        took = time.monotonic() - began
        answers = [one.result() for one in asked]
    assert [answer.status_code for answer in answers] == [200] * 8
    assert took < DRAIN_S
    assert stack.compose.container("service")["State"]["ExitCode"] == 0
    stack.compose.run("up", "-d", "service")
    eventually(lambda: stack.ready() == "ready", timeout_s=120)


def test_a_recommender_job_reads_features_over_http_and_its_bundle_scores(
    stack: Stack, inputs: Path
) -> None:
    data = "/var/lib/reclm/data"
    made = ["data", "import", "table", "/input/few.csv", "--items", "/input/items.csv"]
    made += [
        "--time-column",
        "timestamp",
        "--category-column",
        "category",
        "--out",
        f"{data}/films",
    ]
    steps = [
        made,
        [
            "features",
            f"{data}/films",
            "--split",
            "random,seed=1",
            "--out",
            f"{data}/films-profiles",
        ],
        ["train", "/input/grid.yaml", "--out", "/var/lib/reclm/output/films"],
        ["export", "/var/lib/reclm/output/films", "--name", "films-1"],
    ]
    for step in steps:
        stack.compose.job("recommend", *step, mount=inputs)
    activated = stack.api.post("/admin/scorers/films-1/activate", headers=stack.admin)
    assert activated.status_code == 200, activated.text

    def scored() -> dict[str, Any]:
        answer = stack.api.post("/score", json={"user_id": "new", "history": ["m1", "m6"], "k": 5})
        return dict(answer.json()) if answer.status_code == 200 else {}

    found = eventually(scored, timeout_s=60)
    assert found["scorer"] == "films-1"
    assert len(found["items"]) == 5
    assert not {"m1", "m6"} & {item["item_id"] for item in found["items"]}


def test_down_leaves_nothing_but_volumes(stack: Stack) -> None:
    stack.compose.run("down")
    assert stack.compose.containers() == []
    assert stack.compose.networks() == []
    names = {volume.removeprefix(f"{stack.compose.project}_") for volume in stack.compose.volumes()}
    assert names == {"redis", "models", "data", "adapters", "bundles", "output"}
