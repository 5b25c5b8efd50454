"""What stops a backfill; what is wrong with one row never does."""

from __future__ import annotations


class BackfillError(Exception):
    """Something the job cannot go on from; the message says what to do."""
