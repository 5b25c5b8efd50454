"""The one error of this package. Standard library only."""

from __future__ import annotations


class ExportError(Exception):
    """A model cannot be trained for export, or not be exported; the message says why."""
