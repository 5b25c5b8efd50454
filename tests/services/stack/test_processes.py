from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import psutil
import pytest

from services.stack.errors import StackError
from services.stack.interrupts import Interrupts
from services.stack.processes import Child, Launcher
from tests.support.processes import runs
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# A leader with a child; both write their pids and, on request, ignore SIGTERM.
FAMILY = """
import os, pathlib, signal, sys, time
if "deaf" in sys.argv:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = os.fork()
me = "child" if child == 0 else "leader"
path = pathlib.Path(sys.argv[1], me)
path.with_suffix(".part").write_text(str(os.getpid()))
path.with_suffix(".part").rename(path)
time.sleep(600)
"""


@pytest.fixture
def children() -> Iterator[list[Child]]:
    started: list[Child] = []
    yield started
    for child in started:
        child.stop(0)


@pytest.fixture
def launcher(children: list[Child]) -> Launcher:
    return Launcher(keep=children.append, interrupts=Interrupts())


def start_family(launcher: Launcher, folder: Path, *arguments: str) -> tuple[Child, list[int]]:
    """Starts a leader with a child; returns the leader and both pids."""
    files = [folder / "leader", folder / "child"]
    child = launcher.start(
        "Family",
        [sys.executable, "-c", FAMILY, str(folder), *arguments],
        url="",
        env=os.environ,
        log=folder / "log",
        fault=lambda: None if all(file.exists() for file in files) else "no pids yet",
        timeout_s=30,
    )
    return child, [int(file.read_text()) for file in files]


def start(launcher: Launcher, folder: Path, code: str, *, timeout_s: float = 30) -> Child:
    """Starts Python code that is never ready."""
    return launcher.start(
        "Server",
        [sys.executable, "-c", code],
        url="",
        env=os.environ,
        log=folder / "log",
        fault=lambda: "nobody listens",
        timeout_s=timeout_s,
    )


@pytest.mark.parametrize("arguments", [(), ("deaf",)])
def test_stop_leaves_nothing_of_the_group(
    launcher: Launcher, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    child, pids = start_family(launcher, tmp_path, *arguments)
    assert child.alive()
    assert all(runs(pid) for pid in pids)
    child.stop(1)
    assert not child.alive()
    eventually(lambda: not any(runs(pid) for pid in pids))


def test_stop_ends_children_whose_leader_died_before(launcher: Launcher, tmp_path: Path) -> None:
    child, (leader, orphan) = start_family(launcher, tmp_path)
    os.kill(leader, 9)
    eventually(lambda: not child.alive())
    assert runs(orphan)
    child.stop(1)
    eventually(lambda: not runs(orphan))


def test_a_process_that_merely_has_the_pid_is_left_alone() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        now = psutil.Process(other.pid).create_time()
        recycled = Child("Server", other.pid, now - 3600, "", "")
        assert not recycled.alive()
        recycled.stop(1)
        assert replace(recycled, started=now).alive()
        other.communicate(b"\n")
        assert other.returncode == 0


def test_a_server_that_ends_is_reported_with_its_log(launcher: Launcher, tmp_path: Path) -> None:
    with pytest.raises(StackError, match=r"(?s)ended with status 3.*port is taken") as raised:
        start(launcher, tmp_path, "print('the port is taken'); raise SystemExit(3)")
    assert str(tmp_path / "log") in str(raised.value)


def test_a_server_that_is_never_ready_is_kept_for_stopping(
    launcher: Launcher, children: list[Child], tmp_path: Path
) -> None:
    with pytest.raises(StackError, match=r"not ready after 0\.5 s: nobody listens"):
        start(launcher, tmp_path, "import time; time.sleep(600)", timeout_s=0.5)
    (child,) = children
    assert child.alive()


def test_a_program_that_is_not_there(launcher: Launcher, tmp_path: Path) -> None:
    with pytest.raises(StackError, match=r"Server cannot be started: .*no-such-program"):
        launcher.start(
            "Server",
            [str(tmp_path / "no-such-program")],
            url="",
            env={},
            log=tmp_path / "log",
            fault=lambda: None,
            timeout_s=1,
        )


def test_a_signal_during_the_start_comes_after_the_process_is_kept(tmp_path: Path) -> None:
    kept: list[Child] = []

    def keep(child: Child) -> None:
        os.kill(os.getpid(), 15)
        time.sleep(0.01)
        kept.append(child)

    with pytest.raises(BaseException, match="15"), Interrupts() as interrupts:
        start(Launcher(keep=keep, interrupts=interrupts), tmp_path, "import time; time.sleep(60)")
    (child,) = kept
    child.stop(1)
    assert not child.alive()
