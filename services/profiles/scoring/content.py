"""What a bundle is: one hash over all its files, computed from them and not read in the manifest.

A name says nothing about content: a folder can be replaced, and two hosts may hold different folders
under one name. Hashes of files are kept for as long as the files are not touched, so that a worker
can look twice a second.
"""

from __future__ import annotations

import hashlib
import os
import time
from typing import TYPE_CHECKING

from services.profiles.errors import DamagedBundle
from services.profiles.scoring import manifest as manifests

if TYPE_CHECKING:
    from pathlib import Path

_CHARACTERS = 32
_SETTLED_NS = 1_000_000_000
"""A file that was written so recently may be written again within one step of the clock of its file
system, and look the same: its hash is not kept."""

_State = tuple[int, int, int, int, int]


class Contents:
    """Hashes bundles. May be used by several threads at once."""

    def __init__(self) -> None:
        self._known: dict[Path, tuple[_State, str]] = {}

    def file(self, path: Path) -> str:
        """Returns the SHA-256 of a file in hexadecimal digits.

        Raises:
            DamagedBundle: The file cannot be read, or changes meanwhile.
        """
        where = f"{path.parent.name}: {path.name}"
        try:
            state = _state(path.stat())
            known = self._known.get(path)
            if known is not None and known[0] == state:
                return known[1]
            with path.open("rb") as file:
                before = os.fstat(file.fileno())
                digest = hashlib.file_digest(file, "sha256").hexdigest()
                after = os.fstat(file.fileno())
        except OSError as error:
            raise DamagedBundle(f"{where}: {error.strerror}") from error
        if _state(before) != _state(after):
            raise DamagedBundle(f"{where} changes while it is read; it is still being copied")
        if time.time_ns() - max(after.st_mtime_ns, after.st_ctime_ns) > _SETTLED_NS:
            self._known[path] = _state(after), digest
        return digest

    def of(self, folder: Path) -> str:
        """Returns 32 hexadecimal digits that identify a bundle's content, the manifest included.

        Files that the manifest does not list are no part of the bundle.

        Raises:
            DamagedBundle: The manifest is none, or a file that it lists cannot be read.
        """
        digest = hashlib.sha256()
        for name in (manifests.FILE, *sorted(manifests.read(folder).files)):
            digest.update(f"{name}\0{self.file(folder / name)}\n".encode())
        return digest.hexdigest()[:_CHARACTERS]


def _state(stat: os.stat_result) -> _State:
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino, stat.st_dev
