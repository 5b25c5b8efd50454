"""Hashes of files, computed from what is in them. Standard library only."""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from pathlib import Path

from services.common.files import write_json
from services.common.home import reclm_home

_BIG = 8 * 1024 * 1024
"""Files under this are read each time: that takes milliseconds."""
_SETTLED_NS = 2_000_000_000
"""A file that was changed within this may change again within one tick of the file system's clock."""


def sha256_of(path: Path) -> str:
    """Returns the SHA-256 of a file's content in hexadecimal digits.

    Raises:
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def remembered_sha256_of(path: Path) -> str:
    """Returns the same; a big file is read again only when it has changed.

    Its hash is kept in `cache/hashes.json` of RECLM's home, with the file's device, inode, size and
    times of change. The last of these cannot be set, so that a copy that keeps the date of what it
    replaces is noticed. Where nothing can be written, as in a container, each process reads the file
    once.

    Raises:
        OSError: The file cannot be read.
    """
    state = _state(path)
    if state[2] < _BIG:
        return sha256_of(path)
    name = str(path.resolve())
    found = _remembered().get(name)
    if isinstance(found, dict) and found.get("state") == state:
        return str(found["sha256"])
    digest = sha256_of(path)
    if _state(path) == state and time.time_ns() - max(state[3:]) > _SETTLED_NS:
        known = {key: value for key, value in _remembered().items() if Path(key).exists()}
        # Without what is remembered, only time is lost.
        with contextlib.suppress(OSError):
            write_json(_file(), {**known, name: {"state": state, "sha256": digest}})
    return digest


def _state(path: Path) -> list[int]:
    found = path.stat()
    return [found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns]


def _remembered() -> dict[str, object]:
    try:
        found = json.loads(_file().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _file() -> Path:
    return reclm_home() / "cache" / "hashes.json"
