"""The one error of this package. Standard library only."""

from __future__ import annotations


class ModelError(Exception):
    """A model cannot be built, trained, read or asked; the message says why and what to do."""
