"""The adapter folder: PEFT's files, and a manifest of their origin.

An adapter that was trained on top of another holds a full copy of that one in `parent/`, so that a
chain of adapters cannot lose a part. `chain` returns its folders in the order in which they are
applied to the base model.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from services.common import manifests
from services.common.files import write_json
from services.common.hashing import sha256_of
from services.common.manifests import MANIFEST, ManifestError, file_records
from training.errors import TrainingError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from peft import PeftModel

PARENT = "parent"
_FORMAT = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class AdapterManifest:
    """The manifest of an adapter.

    Attributes:
        job: Name of the job that trained it.
        base_model: Name and content hash of the base model of the chain.
        config: Options of the job, under the names that they had in the version that trained it.
        data: Hash and number of the rows, and the manifest in their folder.
        prompt: Name and hash of the prompts, as in the service's profile version.
        reward: Content hash of the reward model; None without one.
        metrics: Name -> number.
        parent: Content hash of the adapter in `parent/`; None without one.
        name: Name under which it was published; empty if it was not.
        source: The command that made it.
        licence: Licence of the base model.
        created_at: Time of creation, RFC 3339, UTC.
        files: SHA-256 and size of every other file, by path.
    """

    job: str
    base_model: Mapping[str, str]
    config: Mapping[str, Any]
    data: Mapping[str, Any]
    prompt: Mapping[str, str]
    metrics: Mapping[str, float]
    parent: str | None = None
    reward: str | None = None
    name: str = ""
    source: str = ""
    licence: str = ""
    created_at: str = ""
    files: Mapping[str, Any] = field(default_factory=dict)


def save_adapter(
    model: PeftModel,
    folder: Path,
    manifest: AdapterManifest,
    *,
    parent: Path | None,
    state: Mapping[str, Any] | None = None,
) -> None:
    """Writes an adapter into an empty folder, with its parent inside.

    Args:
        model: Holds the adapter as its only one.
        folder: The folder to write into.
        manifest: The manifest; `created_at`, `parent` and `files` are filled in here.
        parent: Folder of the adapter that this one was trained on top of.
        state: All weights of the model, where this process holds only a part of them.
    """
    # PEFT writes "all-linear" as the path of every layer; servers expect the last part of the name.
    config = model.peft_config["default"]
    config.target_modules = {str(name).rpartition(".")[2] for name in config.target_modules}
    model.save_pretrained(str(folder), state_dict=state, save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)
    if parent is not None:
        shutil.copytree(parent, folder / PARENT)
    write_manifest(
        folder, manifest, parent=None if parent is None else content_hash(folder / PARENT)
    )


def write_manifest(folder: Path, manifest: AdapterManifest, *, parent: str | None) -> None:
    """Writes the manifest of a folder; all other files must have been written before."""
    document = {
        "format": _FORMAT,
        **asdict(manifest),
        "parent": parent,
        "created_at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "files": file_records(folder),
    }
    write_json(folder / MANIFEST, document)


def read_adapter(folder: Path) -> AdapterManifest:
    """Reads an adapter's manifest, and checks the files that it lists.

    Raises:
        TrainingError: There is no adapter, or a file is missing or differs from the manifest.
    """
    path = folder / MANIFEST
    try:
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if document.pop("format") != _FORMAT:
            raise TrainingError(f"{path} was written by a newer RecLM")
        manifest = AdapterManifest(**document)
    except OSError as error:
        raise TrainingError(f"{folder} is not an adapter: cannot read its {MANIFEST}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise TrainingError(f"{path} is not an adapter's manifest: {error!r}") from error
    for name, entry in manifest.files.items():
        file = folder / name
        if not file.is_file() or sha256_of(file) != entry["sha256"]:
            raise TrainingError(
                f"{file} is missing or differs from the manifest; copy the adapter again"
            )
    return manifest


def content_hash(folder: Path) -> str:
    """Returns 12 hexadecimal digits that identify the content of a model or adapter folder.

    Raises:
        TrainingError: There is no such folder, or its manifest is damaged.
    """
    try:
        return manifests.content_hash(folder)
    except ManifestError as error:
        raise TrainingError(str(error)) from error


def licence_of(model: Path) -> str:
    """Returns the licence that a model's manifest names, or "not known"."""
    path = model / MANIFEST
    if not path.is_file():
        return "not known"
    return str(json.loads(path.read_text(encoding="utf-8")).get("licence", "not known"))


def chain(adapter: Path) -> list[Path]:
    """Returns the folders of a chain of adapters: those that an adapter was trained on, then its own.

    Raises:
        TrainingError: As `read_adapter` does, or a parent is not the one that it was trained on.
    """
    manifest = read_adapter(adapter)
    if manifest.parent is None:
        return [adapter]
    parent = adapter / PARENT
    if not parent.is_dir() or content_hash(parent) != manifest.parent:
        raise TrainingError(f"{parent} is not the adapter {manifest.parent} that {adapter} needs")
    return [*chain(parent), adapter]


def check_base(adapter: Path, model: Path) -> None:
    """Checks that a model is the one that an adapter was trained on.

    Raises:
        TrainingError: It is another model.
    """
    wanted, there = read_adapter(adapter).base_model, content_hash(model)
    if wanted["hash"] != there:
        raise TrainingError(
            f"{adapter} was trained on {wanted['name']} ({wanted['hash']}), and {model} is {there}"
        )
