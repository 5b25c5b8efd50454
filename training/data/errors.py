"""The error of this package. Standard library only."""

from __future__ import annotations


class InstructionDataError(Exception):
    """Instruction data cannot be built or read; the message says where, and what to do."""
