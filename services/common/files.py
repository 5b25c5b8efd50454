"""Atomic files and folders: whatever interrupts the writing, a path has its old content or its new.

New content is written beside the target, synced to the disk and renamed into place. Standard library
only.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import uuid
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


@contextlib.contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Yields a temporary path that replaces `target` when the block succeeds.

    For libraries that open files themselves. The temporary path has the target's suffix, and its
    folder is made. When the block raises, the target keeps its content.

    Args:
        target: The file to write.

    Raises:
        OSError: The file cannot be written, for example because the disk is full.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = _beside(target)
    try:
        yield temporary
        replace_file(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_file(target: Path) -> Iterator[BinaryIO]:
    """Yields a binary file that replaces `target` when the block succeeds.

    Args:
        target: The file to write.

    Raises:
        OSError: The file cannot be written, for example because the disk is full.
    """
    with atomic_path(target) as temporary, temporary.open("wb") as file:
        yield file


@contextlib.contextmanager
def atomic_folder(target: Path, *, replace: bool = False) -> Iterator[Path]:
    """Yields an empty folder that becomes `target` when the block succeeds.

    An empty folder at the target is replaced in any case. When the block raises, the target keeps
    its content.

    Args:
        target: The folder to write.
        replace: Whether to replace a folder that is not empty.

    Raises:
        FileExistsError: The target exists, is not empty, and `replace` is false.
        OSError: The folder cannot be written, for example because the disk is full.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = _beside(target)
    try:
        temporary.mkdir()
        yield temporary
        if is_occupied(target) and not replace:
            raise FileExistsError(f"{target} exists and is not empty")
        replace_folder(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def replace_file(source: Path, target: Path) -> None:
    """Flushes a finished file to the disk and renames it to `target`, which may exist.

    Both must be on the same file system.

    Raises:
        OSError: The file cannot be flushed or renamed.
    """
    sync(source)
    source.replace(target)
    sync(target.parent)


def replace_folder(source: Path, target: Path) -> None:
    """Flushes a finished folder to the disk and renames it to `target`, which may exist.

    Both must be on the same file system. When the renaming fails, the target keeps its content.

    Raises:
        OSError: The folder cannot be flushed or renamed.
    """
    for path in source.rglob("*"):
        sync(path)
    sync(source)
    old = _beside(target)
    try:
        if target.exists():
            target.rename(old)
        source.rename(target)
        sync(target.parent)
    except BaseException:
        if old.exists() and not target.exists():
            old.rename(target)
        raise
    finally:
        shutil.rmtree(old, ignore_errors=True)


def write_bytes(target: Path, content: bytes) -> None:
    """Writes a file atomically.

    Raises:
        OSError: The file cannot be written.
    """
    with atomic_file(target) as file:
        file.write(content)


def write_text(target: Path, text: str) -> None:
    """Writes a UTF-8 text file atomically.

    Raises:
        OSError: The file cannot be written.
    """
    write_bytes(target, text.encode())


def write_json(target: Path, document: Mapping[str, Any]) -> None:
    """Writes a JSON file atomically, indented by two spaces, with a line break at its end.

    Raises:
        OSError: The file cannot be written.
        TypeError: The document holds something that JSON cannot.
    """
    write_text(target, json.dumps(document, indent=2) + "\n")


def is_occupied(target: Path) -> bool:
    """Returns whether a path exists and is anything but an empty folder."""
    return target.exists() and not (target.is_dir() and not any(target.iterdir()))


def sync(path: Path) -> None:
    """Flushes a file or a folder to the disk.

    Raises:
        OSError: The path cannot be opened or flushed.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _beside(target: Path) -> Path:
    return target.with_name(f".{target.stem}.{uuid.uuid4().hex[:8]}.new{target.suffix}")
