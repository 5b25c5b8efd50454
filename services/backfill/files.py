"""Files that are whole or not there."""

from __future__ import annotations

import contextlib
import errno
import os
import uuid
from typing import TYPE_CHECKING, BinaryIO

from services.backfill.errors import BackfillError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextlib.contextmanager
def whole(path: Path) -> Iterator[BinaryIO]:
    """Opens a file that takes its place only when the body has ended well, safe on the disk.

    Raises:
        BackfillError: The disk is full; what stood at the path still stands there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.new")
    try:
        with new.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
            raise
        raise BackfillError(
            f"there is no room for {path} ({error.strerror}); make room and start the same "
            "command again: what is written already is kept"
        ) from error
    finally:
        new.unlink(missing_ok=True)
