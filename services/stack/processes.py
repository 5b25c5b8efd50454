"""Child processes of the stack: started apart, awaited until they answer, stopped for sure."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil

from services.stack.errors import StackError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

_LOG_TAIL = 2_000
_POLL_S = 0.2


def free_port() -> int:
    """Returns a loopback TCP port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True, slots=True)
class Child:
    """A process of the stack, leader of its own group.

    Attributes:
        started: When the process began, in Unix seconds: with the pid, it names a process that
            cannot be mistaken for a later one with the same pid.
    """

    name: str
    pid: int
    started: float
    url: str
    log: str

    def alive(self) -> bool:
        """Says whether this very process still runs."""
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.started) < 1
            return same and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    def stop(self, timeout_s: float) -> None:
        """Asks the process to end, and ends its whole group when it does not in time."""
        if not self.alive():
            return
        os.kill(self.pid, signal.SIGTERM)
        until = time.monotonic() + timeout_s
        while self.alive() and time.monotonic() < until:
            _reap(self.pid)
            time.sleep(0.05)
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        finally:
            _reap(self.pid)


def start(
    name: str,
    command: Sequence[str],
    *,
    url: str,
    env: Mapping[str, str],
    log: Path,
    ready: Callable[[], bool],
    timeout_s: float,
) -> Child:
    """Starts a process and waits until it is ready.

    Args:
        name: For messages.
        command: Program and arguments.
        url: Where it will answer.
        env: Added to this process's environment.
        log: Where its output goes, from the beginning.
        ready: Asked again and again.
        timeout_s: How long it may take.

    Raises:
        StackError: It ended or was not ready in time; the end of its log is in the message.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **env},
                start_new_session=True,
            )
        except OSError as error:
            raise StackError(f"{name} cannot be started: {error}") from error
    child = Child(name, process.pid, psutil.Process(process.pid).create_time(), url, str(log))
    until = time.monotonic() + timeout_s
    try:
        while not ready():
            if process.poll() is not None:
                raise StackError(f"{name} ended with status {process.returncode}.{_tail(log)}")
            if time.monotonic() > until:
                raise StackError(f"{name} was not ready after {timeout_s:g} s.{_tail(log)}")
            time.sleep(_POLL_S)
    except BaseException:
        child.stop(5)
        raise
    return child


def _reap(pid: int) -> None:
    """Takes the exit status of a child of this process, if it is one and has ended."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return


def _tail(log: Path) -> str:
    text = log.read_text(errors="replace")[-_LOG_TAIL:].strip()
    return f" The end of {log}:\n{text}"
