"""A pytest plugin that prints how long a run took and how much memory its process used at most.

Use it with `-p tests.support.resources`. If RECLM_RESOURCES_FILE names a file, the line is written
there as well, for a script that prints it again at its own end.
"""

from __future__ import annotations

import os
import resource
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

_start = time.monotonic()


def peak_gib(who: int) -> float:
    """Returns the largest resident set of this process or of one of its children, in GiB.

    Args:
        who: `resource.RUSAGE_SELF`, or `resource.RUSAGE_CHILDREN` for the largest ended child.
    """
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere
    return resource.getrusage(who).ru_maxrss * unit / 2**30


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Prints the line, and writes it to the file if one is named."""
    line = (
        f"wall time {time.monotonic() - _start:,.0f} s; largest RSS of the test process "
        f"{peak_gib(resource.RUSAGE_SELF):.2f} GiB, of a process that it started "
        f"{peak_gib(resource.RUSAGE_CHILDREN):.2f} GiB"
    )
    terminalreporter.write_line(line)
    if path := os.environ.get("RECLM_RESOURCES_FILE"):
        Path(path).write_text(line + "\n", encoding="utf-8")
