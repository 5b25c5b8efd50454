"""Who used the processor while something was measured."""

from __future__ import annotations

import os
import time

import psutil


class CpuWatch:
    """Watches from when it is made: this process with all it started, and everybody else."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self._busy = _busy_s()
        self._ours = _family_s()

    def others(self) -> float:
        """Returns the share of all cores that others have had, the hypervisor included: 0 to 1."""
        elapsed = time.perf_counter() - self._started
        ours = sum(_family_s().values()) - sum(self._ours.values())
        theirs = _busy_s() - self._busy - ours
        return max(0.0, theirs / (elapsed * (os.cpu_count() or 1)))


def worker_seconds(supervisor: int) -> dict[int, float]:
    """Returns the CPU seconds of each process under another one, by process id."""
    return {
        child.pid: _used_s(child) for child in psutil.Process(supervisor).children(recursive=True)
    }


def _family_s() -> dict[int, float]:
    me = psutil.Process()
    return {process.pid: _used_s(process) for process in (me, *me.children(recursive=True))}


def _used_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _busy_s() -> float:
    times = psutil.cpu_times()
    # On Linux `user` includes `guest` already; iowait is idle time.
    idle = times.idle + getattr(times, "iowait", 0.0)
    guest = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)
    return float(sum(times) - idle - guest)
