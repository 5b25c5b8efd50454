"""The error of this package. Standard library only."""

from __future__ import annotations


class TrainingError(Exception):
    """A job cannot start or fails; the message says why, and what to do."""
