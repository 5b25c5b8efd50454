"""What stops an erasure."""

from __future__ import annotations


class ErasureError(Exception):
    """Something is not erased; the message says what, where, and what to do."""
