"""Both wheels are built, and the client's works by itself."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.services.client import documents
from tests.services.client.server import running

if TYPE_CHECKING:
    from tests.services.client.server import Reply, Request

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]

USE = """
import sys
import services
from reclm_client import Item, ReclmClient

assert services.MINE
with ReclmClient(sys.argv[1]) as client:
    print(client.profile("user", "u1", history=[Item("", "Heat (1995)")]))
loaded = {name.partition(".")[0] for name in sys.modules}
print(sorted(loaded & {"fastapi", "numpy", "pandas", "pyarrow", "redis", "torch"}))
"""


OUTSIDE = {
    **{name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
    "PIP_CONSTRAINT": str(ROOT / "constraints.txt"),
}


def skip_without_index(said: str) -> None:
    if "No matching distribution found" in said:
        pytest.skip(f"pip finds no index with what the wheels need here: {said[-300:]}")


def built(project: Path, folder: Path) -> Path:
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", str(folder), str(project)]
    done = subprocess.run(command, env=OUTSIDE, capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    skip_without_index(said)
    assert done.returncode == 0, said
    (wheel,) = folder.glob("*.whl")
    return wheel


def test_the_wheel_of_the_service_leaves_the_client_to_its_own(tmp_path: Path) -> None:
    wheel = built(ROOT, tmp_path)
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (metadata,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        said = archive.read(metadata).decode()
    assert "services/profiles/app.py" in names
    assert {name.partition("/")[0] for name in names if name.endswith(".py")} == {
        "services",
        "training",
        "recommenders",
    }
    assert not [name for name in names if name.startswith("services/client")]
    assert "Requires-Dist: reclm-client" in said


def test_the_client_works_in_an_empty_environment_beside_a_package_called_services(
    tmp_path: Path,
) -> None:
    wheel = built(ROOT / "services" / "client", tmp_path / "dist")
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    install = [python, "-m", "pip", "install", "--quiet", "--no-compile", wheel]
    done = subprocess.run(install, env=OUTSIDE, capture_output=True, text=True, check=False)
    skip_without_index(done.stderr)
    assert done.returncode == 0, done.stderr

    project = tmp_path / "project"
    (project / "services").mkdir(parents=True)
    (project / "services" / "__init__.py").write_text("MINE = True\n")
    (project / "use.py").write_text(USE)

    async def good(_: Request, reply: Reply) -> None:
        await reply.json(documents.profile())

    with running() as server:
        server.handler = good
        used = subprocess.run(
            [python, "use.py", server.url],
            cwd=project,
            env=OUTSIDE,
            capture_output=True,
            text=True,
            check=False,
        )
    assert used.returncode == 0, used.stderr
    profile, loaded = used.stdout.splitlines()
    assert profile.startswith("<user profile 'u1', generated: 'User identity: a, b, c;")
    assert loaded == "[]"
    assert server.requests[0].json() == {"id": "u1", "history": [{"title": "Heat (1995)"}]}
