"""Models from the Hugging Face Hub: safetensors and ONNX only, no format that runs code when read."""

from __future__ import annotations

import shutil
from fnmatch import fnmatch
from typing import TYPE_CHECKING

import httpx2
from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
    XetDownloadError,
)

from services.assets.errors import AssetError
from services.assets.install import Asset
from services.assets.manifest import Origin

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from huggingface_hub.hf_api import ModelInfo, RepoSibling

_FAILURES = (httpx2.HTTPError, XetDownloadError, OSError)
_PATTERNS = (
    "*.safetensors",
    "*.json",
    "*.jinja",
    "tokenizer.model",
    "vocab.txt",
    "merges.txt",
    # Only the plain model, not the variants for certain processors.
    "model.onnx",
    "model.onnx_data",
)


def find(name: str, revision: str | None) -> Asset:
    """Finds a model on the Hub, at a revision or at the newest commit.

    Raises:
        AssetError: The model does not exist, is gated or has no files of a safe format, or the Hub
            cannot be reached.
    """
    try:
        info = HfApi().model_info(name, revision=revision, files_metadata=True)
    except _FAILURES as error:
        raise _explained(error, name, revision) from error
    files = [file for file in info.siblings or () if _wanted(file.rfilename)]
    if not any(file.rfilename.endswith((".safetensors", ".onnx")) for file in files):
        raise AssetError(
            f"{name} on the Hub has neither safetensors nor model.onnx; formats that can run "
            "code when they are read are refused"
        )

    def build(target: Path, scratch: Path) -> None:
        _download(name, info, scratch)
        _verify(name, info, files, scratch)
        for file in files:
            destination = target / file.rfilename
            destination.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(scratch / file.rfilename, destination)

    return Asset(
        Origin(name, f"https://huggingface.co/{name} at {info.sha}", _licence(info)),
        sum(file.size or 0 for file in files),
        build,
    )


def _wanted(path: str) -> bool:
    # Subfolders of a repository hold other formats of the same weights.
    return "/" not in path and any(fnmatch(path, pattern) for pattern in _PATTERNS)


def _download(name: str, info: ModelInfo, folder: Path) -> None:
    # huggingface_hub does not resume the partial file of an interrupted download.
    for leftover in folder.rglob("*.incomplete"):
        leftover.unlink()
    try:
        snapshot_download(
            name,
            revision=info.sha,
            local_dir=folder,
            allow_patterns=list(_PATTERNS),
            ignore_patterns=["*/*"],
        )
    except _FAILURES as error:
        raise _explained(error, name, info.sha) from error


def _verify(name: str, info: ModelInfo, files: Sequence[RepoSibling], folder: Path) -> None:
    """Compares the files' hashes with those on the Hub, and removes files that differ."""
    try:
        found = HfApi().verify_repo_checksums(name, revision=info.sha, local_dir=folder)
    except _FAILURES as error:
        raise _explained(error, name, info.sha) from error
    if missing := {file.rfilename for file in files}.intersection(found.missing_paths):
        raise AssetError(f"the download left no {min(missing)}; try again")
    for file in found.mismatches:
        (folder / file["path"]).unlink()
    if found.mismatches:
        first = found.mismatches[0]
        raise AssetError(
            f"{first['path']} has hash {first['actual']}, on the Hub it has {first['expected']}; "
            "try again"
        )


def _licence(info: ModelInfo) -> str:
    licence = info.card_data.get("license") if info.card_data is not None else None
    return str(licence or "not stated; see the model's page")


def _explained(error: Exception, name: str, revision: str | None) -> AssetError:
    if isinstance(error, GatedRepoError):
        return AssetError(
            f"{name} is gated: accept its terms on https://huggingface.co/{name}, then log in "
            "with `hf auth login` or set HF_TOKEN"
        )
    if isinstance(error, RevisionNotFoundError):
        return AssetError(f"{name} on the Hub has no revision {revision!r}")
    if isinstance(error, RepositoryNotFoundError):
        return AssetError(
            f"the Hub has no model {name}, or it is private; for a private one log in with "
            "`hf auth login` or set HF_TOKEN"
        )
    reason = str(error.__cause__ or error) if isinstance(error, LocalEntryNotFoundError) else error
    return AssetError(
        f"could not fetch {name} from the Hub ({reason}); check the network, or set HF_ENDPOINT "
        "to a mirror, then try again: complete files are kept"
    )
