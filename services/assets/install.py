"""Makes asset folders that appear whole or not at all, whatever interrupts the making."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.assets.errors import AssetError
from services.assets.manifest import MANIFEST, Origin, is_complete, write_manifest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Asset:
    """Something to install: where it is from, what it weighs, and how it is made.

    Attributes:
        download_bytes: What fetching it transfers, for the user to know beforehand.
        build: Called with two folders: the first, empty, to fill with the asset's files; the
            second for everything else, which after an interruption still has what it had.
    """

    origin: Origin
    download_bytes: int
    build: Callable[[Path, Path], None]


def install(asset: Asset, folder: Path, *, force: bool) -> None:
    """Builds an asset beside `folder` and renames it into place.

    Processes that install the same folder take turns, and find the work done.

    Args:
        asset: What to install.
        folder: Where it shall be.
        force: Whether to replace a complete asset; a damaged one is always replaced.

    Raises:
        AssetError: The build failed, or `folder` exists and is no asset.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with exclusive(folder):
        if folder.exists():
            if not (folder / MANIFEST).is_file():
                raise AssetError(f"{folder} is in the way and has no {MANIFEST}; move it away")
            if not force and is_complete(folder):
                return
        work = folder.with_name(f".{folder.name}.part")
        target, scratch, replaced = work / "asset", work / "scratch", work / "replaced"
        for leftover in (target, replaced):
            if leftover.exists():
                shutil.rmtree(leftover)
        target.mkdir(parents=True)
        scratch.mkdir(exist_ok=True)
        asset.build(target, scratch)
        write_manifest(target, asset.origin)
        _sync(target)
        if folder.exists():
            folder.rename(replaced)
        target.rename(folder)
        _sync_one(folder.parent)
        shutil.rmtree(work)


@contextlib.contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Holds a lock on `path` among the processes of this machine; death releases it."""
    with path.with_name(f".{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _sync(folder: Path) -> None:
    for path in folder.rglob("*"):
        _sync_one(path)
    _sync_one(folder)


def _sync_one(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
