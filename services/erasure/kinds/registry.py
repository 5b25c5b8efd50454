"""The kinds of folder that an erasure knows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.erasure.errors import ErasureError
from services.erasure.kinds.backfill import BackfillFolder
from services.erasure.kinds.bundle import BundleFolder
from services.erasure.kinds.dataset import DatasetFolder
from services.erasure.kinds.results import ResultsFolder
from services.erasure.kinds.snapshot import SnapshotFolder, UnfinishedSnapshot
from services.erasure.kinds.training_data import TrainingDataFolder
from services.erasure.swap import restore

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from services.erasure.plan import FolderKind

KINDS: tuple[FolderKind, ...] = (
    BackfillFolder(),
    SnapshotFolder(),
    UnfinishedSnapshot(),
    BundleFolder(),
    DatasetFolder(),
    TrainingDataFolder(),
    ResultsFolder(),
)

_REFUSED = {
    "trained.json": "holds a trained model, which cannot forget anybody: delete the folder, and "
    "train again from the rewritten dataset",
    "adapter_config.json": "holds an adapter, which cannot forget anybody: delete the folder, and "
    "train again from the rewritten rows",
}
"""Files that tell a folder of ours which cannot be rewritten, and what to do about it."""


def kind_of(folder: Path) -> FolderKind:
    """Returns the kind of a folder.

    Raises:
        ErasureError: It is of none.
    """
    for kind in KINDS:
        if kind.recognises(folder):
            return kind
    for name, why in _REFUSED.items():
        if (folder / name).is_file():
            raise ErasureError(f"{folder} {why}")
    names = ", ".join(kind.name for kind in KINDS)
    raise ErasureError(
        f"{folder} is no folder that can be rewritten ({names}); leave it out, and erase there by "
        "hand"
    )


def expanded(folders: Iterable[Path]) -> list[Path]:
    """Returns the folders to rewrite, each once; of a folder that only holds such folders, those.

    Raises:
        ErasureError: A path is not a folder.
    """
    found: dict[Path, None] = {}
    for given in folders:
        folder = given.resolve()
        try:
            restore(folder)
        except OSError as error:
            raise ErasureError(f"{given} cannot be read: {error.strerror}") from error
        if not folder.is_dir():
            raise ErasureError(f"{given} is not a folder")
        inside = [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]
        nested = bool(inside) and all(path.is_dir() and not path.is_symlink() for path in inside)
        if nested and not any(kind.recognises(folder) for kind in KINDS):
            found.update(dict.fromkeys(inside))
        else:
            found[folder] = None
    return list(found)
