"""What the kinds share: reading the JSON document that says what a folder is."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

from services.common.hashing import sha256_of
from services.erasure.errors import ErasureError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


def document_of(path: Path) -> dict[str, Any] | None:
    """Returns the JSON object in a file; None if there is none."""
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return document if isinstance(document, dict) else None


def check_hashes(folder: Path, hashes: Mapping[str, str]) -> None:
    """Checks files before they are rewritten: a new manifest must not vouch for damaged ones.

    Raises:
        ErasureError: A file is missing or differs from its hash.
    """
    for name, wanted in hashes.items():
        try:
            found = sha256_of(folder / name)
        except OSError as error:
            raise ErasureError(f"{folder / name} cannot be read: {error.strerror}") from error
        if found != wanted:
            raise ErasureError(
                f"{folder / name} is damaged: the manifest has another checksum. Put the right file "
                "there or delete the folder, then run the command again"
            )


@contextlib.contextmanager
def nobody_else(folder: Path) -> Iterator[None]:
    """Does nothing: such folders are never written to after they are finished."""
    del folder
    yield


def no_other_ids(folder: Path, id_: str) -> tuple[str, ...]:
    """Returns no id: the folder's writer asked the service for nothing, or under the id itself."""
    del folder, id_
    return ()
