"""Installs asset folders atomically: an interrupted installation leaves no incomplete asset."""

from __future__ import annotations

import contextlib
import fcntl
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.assets.errors import AssetError
from services.assets.manifest import Origin, is_complete, write_manifest
from services.common.files import replace_folder
from services.common.manifests import MANIFEST

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Asset:
    """An asset that can be installed.

    Attributes:
        origin: Name, source and licence.
        download_bytes: Size of the download, shown to the user before it starts.
        build: Called with two folders: an empty one to fill with the asset's files, and one for
            temporary files. The second keeps its content when a build is interrupted, so that the
            next build can reuse downloads.
    """

    origin: Origin
    download_bytes: int
    build: Callable[[Path, Path], None]


def install(asset: Asset, folder: Path, *, force: bool) -> None:
    """Builds an asset beside `folder` and renames it into place.

    A lock serialises processes that install the same folder; those that wait find it complete.

    Args:
        asset: What to install.
        folder: The asset's folder.
        force: Whether to replace a complete asset; an incomplete one is always replaced.

    Raises:
        AssetError: The build failed, or `folder` exists and is not an asset.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with exclusive(folder):
        if folder.exists():
            if not (folder / MANIFEST).is_file():
                raise AssetError(f"{folder} is in the way and has no {MANIFEST}; move it away")
            if not force and is_complete(folder):
                return
        work = folder.with_name(f".{folder.name}.part")
        target, scratch = work / "asset", work / "scratch"
        if target.exists():
            shutil.rmtree(target)
        target.mkdir(parents=True)
        scratch.mkdir(exist_ok=True)
        asset.build(target, scratch)
        write_manifest(target, asset.origin)
        replace_folder(target, folder)
        shutil.rmtree(work)


@contextlib.contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Holds a lock on `path` among the processes of this machine; the end of the process frees it."""
    with path.with_name(f".{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
