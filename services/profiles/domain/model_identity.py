"""Names and content hashes of the model and the adapter, for the version of a profile."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from services.common.manifests import content_hash
from services.profiles.domain.profile import Component

if TYPE_CHECKING:
    from pathlib import Path


def model_component(name: str, folder: Path | None) -> Component:
    """Returns the base model's name and hash.

    The hash is over the weights if their folder is given. Of a model behind a URL only the name is
    known, and the hash is over the name.
    """
    if folder is None:
        return Component(name, _short(name))
    return Component(name, content_hash(folder))


def adapter_component(name: str | None, digest: str) -> Component | None:
    """Returns the adapter's name and hash, None for none."""
    if name is None:
        return None
    return Component(name, digest or _short(name))


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
