"""The one error of this package. Standard library only."""

from __future__ import annotations


class AssetError(Exception):
    """An asset cannot be fetched, converted or trusted; the message says what to do."""
