"""The base of errors about files that RecLM reads. Standard library only."""

from __future__ import annotations


class ArtifactError(Exception):
    """A model, a manifest or another artifact is missing, damaged or of the wrong kind.

    The message names the file and says what to do.
    """
