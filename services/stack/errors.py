"""What can go wrong between a fresh clone and a running stack."""

from __future__ import annotations


class StackError(Exception):
    """Something that the stack needs is missing or does not work; the message says what to do."""
