"""The folder that a builder writes: JSON lines, and a manifest that says what they are.

It appears when it is whole. Two builds from the same data with the same options have the same
fingerprint, so that a trainer can name what it was trained on.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.data.errors import InstructionDataError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

MANIFEST = "manifest.json"
FORMAT = 1


def write_folder(
    folder: Path,
    files: Mapping[str, Iterable[Mapping[str, Any]]],
    *,
    builder: str,
    about: Mapping[str, Any],
    replace: bool = False,
) -> dict[str, Any]:
    """Writes files of JSON lines and their manifest, whole or not at all.

    Args:
        folder: Where; folders above it are made.
        files: Name -> rows, which are written as they come.
        builder: What made them, such as `collaborative`.
        about: What else the manifest says: options, counts, filters, fingerprints of the data. It
            is read after the rows have been written, and must be the same in a second build.
        replace: Put it in the place of a folder that a builder wrote before.

    Returns:
        The manifest.

    Raises:
        InstructionDataError: Something is there already, and it is no such folder or is not to
            be replaced.
    """
    check_place(folder, replace=replace)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as scratch:
        new = Path(scratch, "new")
        new.mkdir()
        written = {name: _write_lines(new / name, rows) for name, rows in files.items()}
        manifest: dict[str, Any] = {"format": FORMAT, "builder": builder, **about, "files": written}
        manifest["fingerprint"] = _fingerprint(manifest)
        document = json.dumps(manifest, indent=2, ensure_ascii=False)
        (new / MANIFEST).write_text(document + "\n", encoding="utf-8")
        if folder.exists():
            folder.rename(Path(scratch, "old"))
        new.rename(folder)
    return manifest


def check_place(folder: Path, *, replace: bool) -> None:
    """Says early whether `write_folder` may write there.

    Raises:
        InstructionDataError: As for `write_folder`.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not (folder / MANIFEST).is_file():
        raise InstructionDataError(f"{folder} holds something else; choose another folder")
    if not replace:
        raise InstructionDataError(f"{folder} is there already; --force puts the new in its place")


def read_manifest(folder: Path) -> dict[str, Any]:
    """Reads the manifest of a folder.

    Raises:
        InstructionDataError: There is none that can be read, or it is of another format.
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
        InstructionDataError: The file is missing, or a line is no object; the line is named.
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


def digest_of(path: Path) -> str:
    """Returns the SHA-256 of a file in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    count, size, digest = 0, 0, hashlib.sha256()
    with path.open("wb") as file:
        for row in rows:
            line = json.dumps(row, ensure_ascii=False).encode() + b"\n"
            file.write(line)
            digest.update(line)
            count, size = count + 1, size + len(line)
        file.flush()
        os.fsync(file.fileno())
    return {"rows": count, "bytes": size, "sha256": digest.hexdigest()}


def _fingerprint(manifest: Mapping[str, Any]) -> str:
    """Returns 16 hexadecimal digits that stand for the rows and all that is said of them."""
    canonical = json.dumps(manifest, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]
