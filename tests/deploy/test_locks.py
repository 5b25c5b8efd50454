"""Every package is pinned once and has its hashes, and a subset of the lock is whole."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import re
import subprocess
import sys
import venv
import zipfile
from pathlib import Path
from shutil import copy

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
LISTS = [f"deploy/vllm/requirements-{kind}" for kind in ("cpu", "cuda")]
HASHED = ["requirements.lock", "deploy/torch-cpu.txt", "deploy/sbom.txt"]
HASHED += [f"{name}.txt" for name in LISTS]
PINNED = r"^([A-Za-z0-9][A-Za-z0-9._-]*)==(\S+)"


def pins(file: str | Path) -> dict[str, str]:
    found = re.findall(PINNED, (ROOT / file).read_text(), re.MULTILINE)
    pinned = {normalized(name): version for name, version in found}
    assert len(pinned) == len(found)
    return pinned


def normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def printed(*names: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, ROOT / "deploy" / "requirements.py", *names]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def chosen(*names: str) -> dict[str, str]:
    done = printed(*names)
    assert done.returncode == 0, done.stderr
    return {normalized(n): v for n, v in re.findall(PINNED, done.stdout, re.MULTILINE)}


@pytest.mark.parametrize("file", HASHED)
def test_every_package_has_hashes_and_no_file_names_an_index(file: str) -> None:
    text = (ROOT / file).read_text()
    blocks = re.split(r"^(?=[A-Za-z0-9])", text, flags=re.MULTILINE)[1:]
    assert len(blocks) == len(pins(file))
    for block in blocks:
        assert re.search(r"--hash=sha256:[0-9a-f]{64}\b", block), block[:80]
    assert "://" not in text
    assert "index" not in re.sub(r"--hash\S+", "", text)


def test_the_locks_have_the_versions_that_were_tested() -> None:
    assert pins("requirements.lock") == pins("constraints.txt")
    for name in LISTS:
        assert pins(f"{name}.txt") == pins(f"{name}.in")
    assert pins("deploy/sbom.in").items() <= pins("deploy/sbom.txt").items()
    torch = f"{pins('constraints.txt')['torch']}+cpu"
    assert pins("deploy/torch-cpu.txt") == {"torch": torch}
    block = (ROOT / "deploy" / "torch-cpu.txt").read_text().partition("\n")[2]
    assert block in (ROOT / f"{LISTS[0]}.txt").read_text()


@pytest.mark.parametrize(
    "extras",
    [("serving",), ("serving", "assets"), ("serving", "recommenders", "training"), ("dev",)],
)
def test_a_subset_holds_all_that_its_packages_need(extras: tuple[str, ...]) -> None:
    found = chosen(*extras)
    locked = pins("requirements.lock")
    for name, version in found.items():
        assert locked[name] == version
        try:
            needed = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue  # of another platform, or of torch's build with CUDA
        for line in needed:
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                assert normalized(requirement.name) in found, f"{name} needs {line}"


def test_what_serves_is_little_and_torch_can_be_left_to_another_index() -> None:
    assert {"fastapi", "hiredis", "onnxruntime"} <= set(chosen("serving"))
    assert not {"torch", "ray", "pytest", "onnx", "uv"} & set(chosen("serving"))
    whole, without = chosen("training"), chosen("--without-torch", "training")
    gone = set(whole) - set(without)
    assert "torch" in gone
    assert all(re.fullmatch(r"torch|triton|(nvidia|cuda)-.*", name) for name in gone)
    assert {"sympy", "jinja2", "filelock"} <= set(without)
    assert set(chosen("hypothesis")) == {"hypothesis", "sortedcontainers"}


def test_a_name_that_is_nothing_is_an_error() -> None:
    done = printed("serving", "nothing")
    assert done.returncode != 0
    assert "nothing: neither an extra nor a package of the lock" in done.stderr


def write_wheel(folder: Path, name: str, version: str, *needs: str) -> str:
    """Writes a minimal wheel. Returns its SHA-256."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(f"{name}.py", f"version = {version!r}\n")
        metadata = [*lines, *(f"Requires-Dist: {need}" for need in needs)]
        wheel.writestr(f"{info}/METADATA", "\n".join(metadata) + "\n")
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def publish_wheel(index: Path, name: str, version: str) -> str:
    """Writes a minimal wheel and its page of an index. Returns its SHA-256."""
    digest = write_wheel(index / name, name, version)
    file = f"{name}-{version}-py3-none-any.whl"
    page = f'<a href="{file}#sha256={digest}">{file}</a>'
    (index / name / "index.html").write_text(page)
    return digest


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A small project with the scripts of this one."""
    folder = tmp_path / "project"
    for name in ("lock.py", "requirements.py", "install.py"):
        (folder / "deploy" / "vllm").mkdir(parents=True, exist_ok=True)
        copy(ROOT / "deploy" / name, folder / "deploy")
    (folder / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["hatchling"]\n'
        "[project]\n[project.optional-dependencies]\n"
        'serving = ["one>=1"]\ntraining = ["torch"]\n'
        'dev = ["reclm[serving,training]", "reclm-client[tables]"]\n'
    )
    client = folder / "services" / "client"
    client.mkdir(parents=True)
    (client / "pyproject.toml").write_text(
        '[project]\ndependencies = ["three"]\n[project.optional-dependencies]\ntables = ["two"]\n'
    )
    (folder / "constraints.txt").write_text("one==1.0\ntorch==9.0\n")
    (folder / "deploy" / "vllm" / "requirements-cpu.in").write_text(
        "# A list.\ntorch==9.0+cpu\ntwo==1.0\n"
    )
    return folder


def offline(folder: Path) -> dict[str, str]:
    """The environment in which uv and pip find the wheels of a folder, and an index beside it for torch."""
    kept = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME"}}
    tools = {"UV_FIND_LINKS": str(folder), "UV_NO_CACHE": "1"}
    kept["UV_DEFAULT_INDEX"] = kept["TORCH_INDEX_URL"] = (folder.parent / "index").as_uri()
    pip = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder), "PIP_CONFIG_FILE": os.devnull}
    return {**kept, **tools, **pip}


def run(python: Path | str, script: Path, *names: str, wheels: Path) -> tuple[int, str]:
    done = subprocess.run(
        [python, script, *names], env=offline(wheels), capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


def test_the_lock_is_written_whole_or_not_at_all(project: Path, tmp_path: Path) -> None:
    wheels = tmp_path / "wheels"
    for name in ("hatchling", "editables", "three", "four"):
        write_wheel(wheels, name, "1.0")
    one = write_wheel(wheels, "one", "1.0", "four")
    write_wheel(wheels, "one", "2.0")
    write_wheel(wheels, "torch", "9.0", "nvidia-x ; sys_platform == 'win32'")
    write_wheel(wheels, "nvidia_x", "1.0")
    lock = project / "deploy" / "lock.py"

    code, said = run(sys.executable, lock, wheels=wheels)
    assert (code, "nothing was written" in said) == (1, True), said
    assert not (project / "requirements.lock").exists()

    cpu = publish_wheel(tmp_path / "index", "torch", "9.0+cpu")
    write_wheel(wheels, "two", "1.0")
    code, said = run(sys.executable, lock, wheels=wheels)
    assert (code, "the index gives no hash of two==1.0" in said) == (1, True), said
    assert not (project / "requirements.lock").exists()

    publish_wheel(tmp_path / "index", "two", "1.0")
    (wheels / "two-1.0-py3-none-any.whl").unlink()
    code, said = run(sys.executable, lock, wheels=wheels)
    assert code == 0, said
    found = pins(project / "requirements.lock")
    assert set(found) == {"one", "two", "three", "four", "torch", "hatchling", "editables"}
    text = (project / "requirements.lock").read_text()
    assert f"one==1.0 \\\n    --hash=sha256:{one}\nthree" in text
    assert "\n    # via one\n" in text
    assert pins(project / "deploy" / "torch-cpu.txt") == {"torch": "9.0+cpu"}
    listed = (project / "deploy" / "vllm" / "requirements-cpu.txt").read_text()
    assert f"torch==9.0+cpu \\\n    --hash=sha256:{cpu}\ntwo==1.0 \\\n" in listed

    (project / "constraints.txt").write_text("one==2.0\ntorch==10.0\n")
    code, said = run(sys.executable, lock, wheels=wheels)
    assert code == 1, said
    assert (project / "requirements.lock").read_text() == text


@pytest.mark.slow
def test_what_is_not_what_was_locked_is_not_installed(project: Path, tmp_path: Path) -> None:
    wheels, install = tmp_path / "wheels", project / "deploy" / "install.py"
    digests = {name: write_wheel(wheels, name, "1.0") for name in ("one", "hatchling", "editables")}
    torch = write_wheel(wheels, "torch", "9.0")
    wrong = {**digests, "torch": torch, "one": "0" * 64}
    (project / "deploy" / "torch-cpu.txt").write_text(
        f"# x\ntorch==9.0+cpu \\\n    --hash=sha256:{'0' * 64}\n"
    )
    versions = {"torch": "9.0"}
    lines = [
        f"{name}=={versions.get(name, '1.0')} \\\n    --hash=sha256:{digest}\n"
        for name, digest in sorted(wrong.items())
    ]
    (project / "requirements.lock").write_text("# x\n" + "".join(lines))
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"

    code, said = run(python, install, "serving", wheels=wheels)
    assert code != 0
    assert "DO NOT MATCH THE HASHES" in said

    # A build of torch for the CPU that is another one is no reason to take the one with CUDA.
    if sys.platform == "linux":
        write_wheel(wheels, "torch", "9.0+cpu")
        code, said = run(python, install, "training", wheels=wheels)
        assert code != 0
        assert "DO NOT MATCH THE HASHES" in said
        assert "torch==9.0+cpu" in said
    show = [
        python,
        "-c",
        "import importlib.util as u; print(u.find_spec('one'), u.find_spec('torch'))",
    ]
    assert subprocess.check_output(show, text=True).strip() == "None None"


def test_without_torch_what_others_need_of_its_packages_stays() -> None:
    """A fresh environment with torch for the CPU lacked triton, which xgrammar needs."""

    def names(*asked: str) -> set[str]:
        done = printed("--without-torch", *asked)
        assert done.returncode == 0, done.stderr
        return {normalized(name) for name, _ in re.findall(PINNED, done.stdout, re.MULTILINE)}

    dev = names("dev")
    assert {"xgrammar", "triton"} <= dev
    assert not {name for name in dev if name == "torch" or name.startswith(("nvidia-", "cuda-"))}
    assert "triton" not in names("torch")
