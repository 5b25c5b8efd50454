"""Steps the clock that a process reads, without root: libfaketime is loaded into it.

Only the time of day is stepped, as by NTP or an operator; no clock that is monotonic.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

STEP_S = 3600
NOTICED_S = 0.2
"""How long a process may go on with the time that it read last: Redis reads it ten times a second."""


class Clock:
    """The offset of the clock of some processes, in a file that libfaketime reads.

    Args:
        file: Where to keep the offset.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self.step(0)

    def step(self, offset_s: int) -> None:
        """Sets the offset from the true time. The processes notice within `NOTICED_S`."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{offset_s:+d}s\n", encoding="ascii")
        new.replace(self._file)

    def env(self) -> dict[str, str]:
        """Returns what a process needs in its environment to read this clock.

        Returns:
            Nothing where there is no libfaketime: the clock cannot be stepped then.
        """
        library = libfaketime()
        if library is None:
            return {}
        return {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            # The library's cache of the offset is not renewed once a clock was put back.
            "FAKETIME_NO_CACHE": "1",
            "DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }


def libfaketime() -> Path | None:
    """Returns the library of the package `libfaketime`; None where it is not installed."""
    package = importlib.util.find_spec("libfaketime")
    if package is None or not package.submodule_search_locations:
        return None
    folder = Path(package.submodule_search_locations[0], "vendor", "libfaketime", "src")
    return next(iter(sorted(folder.glob("libfaketime.so*"))), None)
