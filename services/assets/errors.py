"""The error of this package. Standard library only."""

from __future__ import annotations

from services.common.errors import ArtifactError


class AssetError(ArtifactError):
    """An asset cannot be fetched, converted or verified; the message says what to do."""
