"""What is installed is listed in a format that others read."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


def test_the_list_names_every_package_with_its_version_and_licence(tmp_path: Path) -> None:
    if not same_environment():
        pytest.skip("these tests do not run in .venv, of which the list is")
    done = subprocess.run(
        [ROOT / "deploy" / "sbom.sh", tmp_path],
        env={**os.environ, "RECLM_HOME": str(tmp_path / "none")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    document = json.loads((tmp_path / "sbom.json").read_text())
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.6")
    assert document["metadata"]["component"]["name"] == "reclm"
    listed = {(plain(one["name"]), one["version"]): one for one in document["components"]}
    installed = {
        (plain(one.name), one.version)
        for one in importlib.metadata.distributions(path=[sysconfig.get_path("purelib")])
    }
    assert installed - set(listed) <= {("reclm", importlib.metadata.version("reclm"))}
    assert listed[plain("FastAPI"), importlib.metadata.version("fastapi")]["licenses"]
    assert listed[plain("pydantic"), importlib.metadata.version("pydantic")]["purl"].startswith(
        "pkg:pypi/pydantic@"
    )
    assert not (tmp_path / "sbom-vllm.json").exists()


def same_environment() -> bool:
    return Path(sys.prefix).resolve() == (ROOT / ".venv").resolve()


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
