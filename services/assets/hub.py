"""Models from the Hugging Face Hub: safetensors and ONNX only, no format that runs code when read."""

from __future__ import annotations

import hashlib
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
from services.common.hashing import sha256_of

if TYPE_CHECKING:
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
        for file in files:
            _check(scratch / file.rfilename, file)
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


def _check(path: Path, file: RepoSibling) -> None:
    """Compares a file's hash with the Hub's, and removes the file if they differ."""
    if not path.is_file():
        raise AssetError(f"the download left no {file.rfilename}; try again")
    if file.lfs is not None:
        expected, found = file.lfs.sha256, sha256_of(path)
    elif file.blob_id is not None:
        expected, found = file.blob_id, _git_hash(path)
    else:
        return
    if found != expected:
        path.unlink()
        raise AssetError(
            f"{file.rfilename} has hash {found}, on the Hub it has {expected}; try again"
        )


def _git_hash(path: Path) -> str:
    """Returns git's blob hash of a file: the Hub has no other hash of small files."""
    content = path.read_bytes()
    header = f"blob {len(content)}\0".encode()
    return hashlib.sha1(header + content, usedforsecurity=False).hexdigest()


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
