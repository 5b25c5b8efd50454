"""Puts a rewritten folder in the place of the old one, and leaves nothing of the old one behind.

The new folder is built beside the old one; files that do not change are hard links. The two are
exchanged in one step where the system can do that, so that a process killed at any time leaves the
old folder or the new one. What a killed process left beside a folder goes with the next run.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import re
import shutil
import sys
import uuid
from typing import TYPE_CHECKING

from services.common.files import sync
from services.erasure.errors import ErasureError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from services.erasure.plan import Plan

_NEW, _OLD = ".erasing-new", ".erasing-old"
_BESIDE = re.compile(rf"\.(.+)\.[0-9a-f]{{8}}({re.escape(_NEW)}|{re.escape(_OLD)})", re.DOTALL)
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2
_CANNOT_EXCHANGE = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EXDEV, errno.EPERM}


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keeps other erasures out of a folder while it is entered.

    Raises:
        ErasureError: Another erasure is at work in it.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The erasure before may have put another folder here since it was opened.
            same = os.path.samestat(os.fstat(descriptor), folder.stat())
        except OSError as error:
            raise _busy(folder) from error
        if not same:
            raise _busy(folder)
        yield
    finally:
        os.close(descriptor)


def restore(folder: Path) -> None:
    """Puts a folder back that an erasure had taken away when it was killed, and those inside it.

    Raises:
        OSError: It cannot be renamed.
    """
    if not folder.exists():
        for old in _left(folder, _OLD)[-1:]:
            old.rename(folder)
    elif folder.is_dir():
        for path in list(folder.iterdir()):
            if found := _BESIDE.fullmatch(path.name):
                restore(folder / found[1])


def clear(folder: Path) -> None:
    """Deletes the copies that an erasure left beside a folder when it was killed.

    Only for who is `alone` in the folder: another erasure has such a copy too while it works.

    Raises:
        OSError: A copy cannot be deleted.
    """
    for left in (*_left(folder, _OLD), *_left(folder, _NEW)):
        shutil.rmtree(left)


def rewrite(folder: Path, plan: Plan) -> None:
    """Carries a plan out.

    Raises:
        ErasureError: The folder cannot be written, for example because the disk is full; it is as
            it was.
    """
    new = _beside(folder, _NEW)
    try:
        _build(folder, new, plan)
        _exchange(new, folder)
    except OSError as error:
        raise ErasureError(
            f"{folder} cannot be rewritten: {error.strerror or error}; it is as it was. Run the "
            "command again when that is mended"
        ) from error
    finally:
        # Before the exchange it is unfinished, afterwards it is the old folder.
        if new.exists():
            shutil.rmtree(new)


def _build(folder: Path, new: Path, plan: Plan) -> None:
    new.mkdir()
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if any(name == drop or name.startswith(f"{drop}/") for drop in plan.drops):
            continue
        if path.is_dir() and not path.is_symlink():
            (new / name).mkdir()
            _take_over(path, new / name)
        elif name in plan.writes:
            plan.writes[name](new / name)
            _take_over(path, new / name)
        else:
            _link(path, new / name)
    if plan.finish is not None:
        plan.finish(new)
    _take_over(folder, new)
    for path in (*new.rglob("*"), new):
        if not path.is_symlink():
            sync(path)


def _link(path: Path, target: Path) -> None:
    try:
        os.link(path, target, follow_symlinks=False)
    except OSError:  # a file system without hard links, or another owner's file
        shutil.copy2(path, target, follow_symlinks=False)


def _take_over(path: Path, target: Path) -> None:
    """Gives a new file or folder the owner and the permissions of the old one."""
    status = path.stat()
    # Only root may give files away, and only root finds here files of others.
    if (status.st_uid, status.st_gid) != (os.geteuid(), os.getegid()):
        with contextlib.suppress(PermissionError):
            os.chown(target, status.st_uid, status.st_gid)
    target.chmod(status.st_mode & 0o7777)


def _exchange(new: Path, folder: Path) -> None:
    """Exchanges two folders; afterwards the old one is where the new one was."""
    if _exchanged(new, folder):
        sync(folder.parent)
        return
    old = _beside(folder, _OLD)
    folder.rename(old)
    try:
        new.rename(folder)
    except OSError:
        old.rename(folder)
        raise
    sync(folder.parent)
    shutil.rmtree(old)


def _exchanged(one: Path, other: Path) -> bool:
    """Exchanges two paths in one step. False if the system or the file system cannot."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except AttributeError:  # a libc without it
        return False
    paths = os.fsencode(one), os.fsencode(other)
    if not rename(_AT_FDCWD, paths[0], _AT_FDCWD, paths[1], _RENAME_EXCHANGE):
        return True
    code = ctypes.get_errno()
    if code in _CANNOT_EXCHANGE:
        return False
    raise OSError(code, os.strerror(code), str(other))


def _beside(folder: Path, end: str) -> Path:
    return folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}{end}")


def _left(folder: Path, end: str) -> list[Path]:
    """Returns what is beside a folder under the names that `_beside` makes for it."""
    if not folder.parent.is_dir():
        return []
    return [
        path
        for path in sorted(folder.parent.iterdir())
        if (found := _BESIDE.fullmatch(path.name)) and found.groups() == (folder.name, end)
    ]


def _busy(folder: Path) -> ErasureError:
    return ErasureError(f"another erasure is at work in {folder}; run the command again after it")
