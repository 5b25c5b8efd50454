"""What stops a backfill; what is wrong with one row never does."""

from __future__ import annotations

import contextlib
import errno
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class BackfillError(Exception):
    """Something the job cannot go on from; the message says what to do."""


class Misconfigured(BackfillError):
    """The RECLM_* settings are none that profiles can be made with.

    Attributes:
        faults: What is wrong, one setting each.
    """

    def __init__(self, *faults: str) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


@contextlib.contextmanager
def room_for(path: Path) -> Iterator[None]:
    """Raises a BackfillError where a file cannot be written because the disk is full."""
    try:
        yield
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
            raise
        raise BackfillError(
            f"there is no room for {path} ({error.strerror}); make room and start the same "
            "command again: what is written already is kept"
        ) from error
