"""What rewriting one folder will change: found without writing anything."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from services.erasure.targets import Targets

    Write = Callable[[Path], None]


@dataclass(frozen=True, slots=True)
class Count:
    """How many rows of something a folder has, and how many it will have."""

    what: str
    before: int
    after: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """The changes to one folder.

    Attributes:
        counts: Of all that names users or items, changed or not.
        writes: File by relative POSIX path -> what writes its new content to a path.
        drops: Relative POSIX paths of files and folders that the new folder will not have.
        finish: Called with the new folder once all files are in it; writes the manifest.
        remains: What the rewritten folder may still hold of somebody, a sentence each.
    """

    counts: tuple[Count, ...] = ()
    writes: Mapping[str, Write] = field(default_factory=dict)
    drops: frozenset[str] = frozenset()
    finish: Write | None = None
    remains: tuple[str, ...] = ()

    @property
    def changes(self) -> bool:
        """Whether anything changes."""
        return bool(self.writes or self.drops)


class FolderKind(Protocol):
    """A kind of folder that can be rewritten. Its methods raise ErasureError."""

    @property
    def name(self) -> str:
        """What to call it in messages and receipts."""
        ...

    def recognises(self, folder: Path) -> bool:
        """Returns whether a folder is of this kind. Reads no more than a manifest."""
        ...

    def exclusive(self, folder: Path) -> AbstractContextManager[None]:
        """Keeps the jobs that write such folders out of it while it is entered."""
        ...

    def plan(self, folder: Path, targets: Targets) -> Plan:
        """Returns what has to change so that the folder holds none of the targets.

        Raises:
            ErasureError: The folder is damaged, or cannot be rewritten.
        """
        ...

    def requested_ids(self, folder: Path, user_id: str) -> tuple[str, ...]:
        """Returns further ids under which the folder's writer asked the service for a user."""
        ...
