"""The error of this package."""

from __future__ import annotations


class BenchmarkError(Exception):
    """A benchmark cannot be run or its results cannot be read; the message says what to do."""
