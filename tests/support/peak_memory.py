"""Prints the largest resident set of every test process at the end of a run (a pytest plugin)."""

from __future__ import annotations

import resource
import sys
from typing import Any

import pytest

_UNIT = 1 if sys.platform == "darwin" else 1024
"""Bytes in which getrusage counts: bytes on macOS, KiB on Linux."""

_OUTPUT = "peak_memory_bytes"


class PeakMemory:
    """Collects the peak of this process, or under pytest-xdist of each of its workers."""

    def __init__(self) -> None:
        self._peaks: dict[str, int] = {}

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        output = getattr(session.config, "workeroutput", None)
        if output is None:
            self._peaks["main"] = peak_bytes()
        else:
            output[_OUTPUT] = peak_bytes()

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        # A worker that was killed leaves no output.
        output = getattr(node, "workeroutput", None)
        if output is not None:
            self._peaks[node.gateway.id] = output[_OUTPUT]

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        peaks = ", ".join(f"{name} {peak / 2**30:.2f}" for name, peak in self._peaks.items())
        terminalreporter.write_line(f"largest RSS of the test processes in GiB: {peaks}")


def peak_bytes() -> int:
    """Returns the largest resident set that this process has had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _UNIT
