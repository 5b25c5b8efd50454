"""Erases from one folder, and reports what changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.erasure import swap
from services.erasure.errors import ErasureError
from services.erasure.kinds.registry import kind_of

if TYPE_CHECKING:
    from pathlib import Path

    from services.erasure.plan import Count
    from services.erasure.targets import Targets


@dataclass(frozen=True, slots=True)
class FolderReport:
    """What was erased from a folder, or would be.

    Attributes:
        kind: Of the folder.
        changed: Whether it held any of the targets, or unfinished copies of anybody.
        counts: Of all that names users or items in it.
        remains: Where copies of what it held may still be, a sentence each.
    """

    path: Path
    kind: str
    changed: bool
    counts: tuple[Count, ...]
    remains: tuple[str, ...]


def erase_from(folder: Path, targets: Targets, *, dry_run: bool = False) -> FolderReport:
    """Rewrites a folder without the targets, as one step; a second time changes nothing.

    Args:
        folder: The folder itself, not a link to it.
        targets: Whom to erase.
        dry_run: Only find what would change.

    Raises:
        ErasureError: The folder is of no known kind, in use, damaged, or cannot be written; it is
            as it was.
    """
    try:
        swap.restore(folder)
        kind = kind_of(folder)
        with swap.alone(folder), kind.exclusive(folder):
            if not dry_run:
                swap.clear(folder)
            plan = kind.plan(folder, targets)
            if plan.changes and not dry_run:
                swap.rewrite(folder, plan)
    except OSError as error:
        raise ErasureError(f"{folder}: {error.strerror or error}") from error
    return FolderReport(
        path=folder,
        kind=kind.name,
        changed=plan.changes,
        counts=plan.counts,
        remains=plan.remains if plan.changes else (),
    )
