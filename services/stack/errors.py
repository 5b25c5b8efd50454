"""The error of this package. Standard library only."""

from __future__ import annotations


class StackError(Exception):
    """A component of the stack is missing or does not work; the message says what to do."""
