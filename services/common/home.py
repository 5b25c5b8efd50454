"""The folder for everything that RecLM fetches or makes. Standard library only."""

from __future__ import annotations

import os
from pathlib import Path


def reclm_home() -> Path:
    """Returns RECLM_HOME, else $XDG_CACHE_HOME/reclm, else ~/.cache/reclm. The folder may not exist yet."""
    if home := os.environ.get("RECLM_HOME"):
        return Path(home).expanduser().absolute()
    if cache := os.environ.get("XDG_CACHE_HOME"):
        return Path(cache).expanduser().absolute() / "reclm"
    return Path.home() / ".cache" / "reclm"
