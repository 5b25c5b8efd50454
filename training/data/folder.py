"""The folder that a builder writes: JSON lines, and a manifest that describes them.

The folder is written atomically. Two builds from the same data with the same options have the same
fingerprint, which identifies the data that a model was trained on.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from services.common.files import atomic_folder, is_occupied
from services.common.manifests import MANIFEST, rows_fingerprint
from training.data.errors import InstructionDataError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

FORMAT = 1


def write_folder(
    folder: Path,
    files: Mapping[str, Iterable[Mapping[str, Any]]],
    *,
    builder: str,
    about: Mapping[str, Any],
    replace: bool = False,
) -> dict[str, Any]:
    """Writes files of JSON lines and their manifest atomically.

    Args:
        folder: The folder to write; its parents are made.
        files: Name -> rows, which are written as they are yielded.
        builder: Name of the builder, such as `collaborative`.
        about: Further members of the manifest: options, counts, fingerprints of the data. Read after
            the rows have been written; must be the same in a second build.
        replace: Whether to replace a folder that a builder wrote before.

    Returns:
        The manifest.

    Raises:
        InstructionDataError: The folder exists, and was not written by a builder or is not to be
            replaced.
    """
    check_target(folder, replace=replace)
    with atomic_folder(folder, replace=True) as new:
        written = {name: _write_lines(new / name, rows) for name, rows in files.items()}
        manifest: dict[str, Any] = {"format": FORMAT, "builder": builder, **about, "files": written}
        manifest["fingerprint"] = rows_fingerprint(manifest)
        document = json.dumps(manifest, indent=2, ensure_ascii=False)
        (new / MANIFEST).write_text(document + "\n", encoding="utf-8")
    return manifest


def check_target(folder: Path, *, replace: bool) -> None:
    """Checks, before any work is done, that `write_folder` may write a folder.

    Raises:
        InstructionDataError: As for `write_folder`.
    """
    if not is_occupied(folder):
        return
    if not (folder / MANIFEST).is_file():
        raise InstructionDataError(f"{folder} was not written by a builder; choose another folder")
    if not replace:
        raise InstructionDataError(f"{folder} exists already; --force replaces it")


def read_manifest(folder: Path) -> dict[str, Any]:
    """Reads the manifest of a folder.

    Raises:
        InstructionDataError: It is missing or damaged, or of another format.
    """
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise InstructionDataError(f"{path} is missing; `reclm-train data` makes it") from error
    except ValueError as error:
        raise InstructionDataError(f"{path} is not JSON: {error}") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise InstructionDataError(f"{path} is not a manifest of format {FORMAT}")
    return manifest


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yields the objects of a file of JSON lines.

    Raises:
        InstructionDataError: The file is missing, or a line is not a JSON object; the line is named.
    """
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                try:
                    row = json.loads(line)
                except ValueError as error:
                    where = f"{path}, line {number}"
                    raise InstructionDataError(f"{where}: not JSON: {error}") from error
                if not isinstance(row, dict):
                    raise InstructionDataError(f"{path}, line {number}: not an object")
                yield row
    except FileNotFoundError as error:
        raise InstructionDataError(f"{path} is missing") from error


def _write_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    count, size, digest = 0, 0, hashlib.sha256()
    with path.open("wb") as file:
        for row in rows:
            line = json.dumps(row, ensure_ascii=False).encode() + b"\n"
            file.write(line)
            digest.update(line)
            count, size = count + 1, size + len(line)
    return {"rows": count, "bytes": size, "sha256": digest.hexdigest()}
