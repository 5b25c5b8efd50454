"""The error of this package. Standard library only."""

from __future__ import annotations


class DatasetError(Exception):
    """Data cannot be read or is not a valid dataset; the message says where and what to do."""
