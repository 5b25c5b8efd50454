"""What stops a backfill; what is wrong with one row never does."""

from __future__ import annotations


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
