"""Child processes of the stack: starts them, waits until they are ready, stops them."""

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

    from services.stack.interrupts import Interrupts

_LOG_TAIL = 2_000
_POLL_S = 0.2
_STOP_POLL_S = 0.05
_KILL_S = 5.0


def free_port() -> int:
    """Returns an unused loopback TCP port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True, slots=True)
class Child:
    """A process of the stack, the leader of its own process group.

    Attributes:
        name: For messages.
        pid: Its process id.
        started: Start time in Unix seconds. It tells the process from a later one with the same
            pid.
        url: The URL that it serves.
        log: Path of its log file.
    """

    name: str
    pid: int
    started: float
    url: str
    log: str

    def alive(self) -> bool:
        """Returns whether this process still runs."""
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.started) < 1
            return same and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    def stop(self, timeout_s: float) -> None:
        """Terminates the process, and kills its whole group after `timeout_s` seconds.

        Returns when no process of the group runs any more, also if the leader died before. Leaves a
        later process with the same pid alone.
        """
        if self.alive():
            os.kill(self.pid, signal.SIGTERM)
        until = time.monotonic() + timeout_s
        while self.alive() and time.monotonic() < until:
            _reap(self.pid)
            time.sleep(_STOP_POLL_S)
        _reap(self.pid)
        if self.recycled():
            return  # the system reuses a pid only when no group has it: our group has ended
        until = time.monotonic() + _KILL_S
        while _kill_group(self.pid) and time.monotonic() < until:
            _reap(self.pid)
            time.sleep(_STOP_POLL_S)

    def recycled(self) -> bool:
        """Returns whether another process has the pid now."""
        try:
            return abs(psutil.Process(self.pid).create_time() - self.started) >= 1
        except psutil.NoSuchProcess:
            return False


class Launcher:
    """Starts processes; each is recorded before a signal can interrupt.

    Args:
        keep: Called with each process as soon as it exists; the callee must stop it.
        interrupts: Defers signals until `keep` was called.
    """

    def __init__(self, *, keep: Callable[[Child], None], interrupts: Interrupts) -> None:
        self._keep = keep
        self._interrupts = interrupts

    def start(
        self,
        name: str,
        command: Sequence[str],
        *,
        url: str,
        env: Mapping[str, str],
        log: Path,
        fault: Callable[[], str | None],
        timeout_s: float,
    ) -> Child:
        """Starts a process and waits until it is ready.

        Args:
            name: For messages.
            command: Program and arguments.
            url: The URL that it will serve.
            env: Its complete environment.
            log: File for its output; overwritten.
            fault: A readiness check, polled until it returns None.
            timeout_s: Timeout in seconds.

        Raises:
            StackError: The process ended or was not ready in time; the message has the end of its
                log.
        """
        log.parent.mkdir(parents=True, exist_ok=True)
        with self._interrupts.held(), log.open("wb") as output:
            try:
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=dict(env),
                    start_new_session=True,
                )
            except OSError as error:
                raise StackError(f"{name} cannot be started: {error}") from error
            started = psutil.Process(process.pid).create_time()
            child = Child(name, process.pid, started, url, str(log))
            self._keep(child)
        until = time.monotonic() + timeout_s
        while (wrong := fault()) is not None:
            if process.poll() is not None:
                raise StackError(f"{name} ended with status {process.returncode}.{_tail(log)}")
            if time.monotonic() > until:
                raise StackError(
                    f"{name} was not ready after {timeout_s:g} s: {wrong}.{_tail(log)}"
                )
            time.sleep(_POLL_S)
        return child


def _kill_group(leader: int) -> bool:
    """Kills a process group. Returns False if no process was left in it."""
    try:
        os.killpg(leader, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        # macOS answers EPERM for a group in which only zombies are left.
        return False
    return True


def _reap(pid: int) -> None:
    """Collects the exit status of a process if it is an ended child of this one."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return


def _tail(log: Path) -> str:
    text = log.read_text(errors="replace")[-_LOG_TAIL:].strip()
    return f" The end of {log}:\n{text}"
