"""Publishes an adapter under a name that was never used before, and loads it into a server.

A name is never used twice, not even after its adapter was deleted: vLLM may serve a known name from
prefixes that it cached for the old adapter (vllm#42125, vllm#30931).
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import torch
from safetensors.torch import load_file, save_file

from services.common.files import atomic_folder, write_json
from services.common.manifests import MANIFEST, file_records
from training.adapters.manifest import PARENT, chain, read_adapter, write_manifest
from training.errors import TrainingError

if TYPE_CHECKING:
    from collections.abc import Sequence

WEIGHTS = "adapter_model.safetensors"
_CONFIG = "adapter_config.json"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_LOAD_TIMEOUT_S = 120.0


def publish(adapter: Path, name: str, home: Path) -> Path:
    """Writes an adapter to RecLM's home under its name, as one adapter without parents.

    Publishing the same adapter under the same name again changes nothing.

    Args:
        adapter: Folder of the adapter, its parents inside.
        name: At most 64 letters, digits, `.`, `_` and `-`.
        home: RecLM's home; the adapter goes to `adapters/NAME`.

    Returns:
        The published folder.

    Raises:
        TrainingError: The name is malformed or was used before, or the adapter is a reward model or
            cannot be joined with its parents.
    """
    if not _NAME.fullmatch(name):
        raise TrainingError(
            f"{name!r} is not a valid name: at most 64 letters, digits, '.', '_' and '-', beginning with "
            "a letter or digit"
        )
    folders = chain(adapter)
    if any(read_adapter(folder).job == "reward" for folder in folders):
        raise TrainingError(f"{adapter} is a reward model, which scores and generates no profiles")
    target = home / "adapters" / name
    with tempfile.TemporaryDirectory() as scratch:
        flat = Path(scratch)
        flatten(folders, flat)
        if target.is_dir() and read_adapter(target).files == file_records(flat):
            return target
        with atomic_folder(target) as folder:
            shutil.copytree(flat, folder, dirs_exist_ok=True)
            write_manifest(folder, replace(read_adapter(adapter), name=name), parent=None)
            _claim(home, name)  # last, so that an adapter that cannot be published uses up no name
    return target


def flatten(folders: Sequence[Path], out: Path) -> None:
    """Writes a chain of adapters as one adapter.

    With the factors side by side, [B1 B2] [A1; A2] = B1 A1 + B2 A2: the rank is the sum of the ranks,
    and the product is exact but for rounding.

    Args:
        folders: Adapters of the same layers, in order.
        out: An empty folder.
    """
    if len(folders) == 1:
        for path in folders[0].iterdir():
            if path.name not in {MANIFEST, PARENT}:
                shutil.copy(path, out / path.name)
        return
    configs = [json.loads((folder / _CONFIG).read_text(encoding="utf-8")) for folder in folders]
    weights = [load_file(folder / WEIGHTS) for folder in folders]
    if any(one.keys() != weights[0].keys() for one in weights):
        raise TrainingError(
            "the adapters of this chain change different layers and cannot be joined; merge them and "
            "serve the merged model"
        )
    scaled = [
        {
            name: tensor * (config["lora_alpha"] / config["r"]) if ".lora_B." in name else tensor
            for name, tensor in one.items()
        }
        for one, config in zip(weights, configs, strict=True)
    ]
    joined = {
        name: torch.cat([one[name] for one in scaled], dim=1 if ".lora_B." in name else 0)
        for name in weights[0]
    }
    rank = sum(config["r"] for config in configs)
    save_file(joined, out / WEIGHTS, metadata={"format": "pt"})
    document = {**configs[-1], "r": rank, "lora_alpha": rank}
    write_json(out / _CONFIG, document)


def check_server(url: str, name: str, *, api_key: str | None = None) -> None:
    """Checks that a vLLM server answers, and that it does not serve a name yet.

    Raises:
        TrainingError: The server does not answer as vLLM does, wants another key, or serves the name
            already.
    """
    try:
        answer = httpx.get(
            f"{url.rstrip('/')}/v1/models",
            headers=_authorization(api_key),
            timeout=_LOAD_TIMEOUT_S,
        )
        if answer.status_code == 401:
            raise TrainingError(
                f"{url} wants a key, or another one: set RECLM_VLLM_API_KEY, or the file that holds it "
                "in RECLM_VLLM_API_KEY_FILE"
            )
        known = {model["id"] for model in answer.raise_for_status().json()["data"]}
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise TrainingError(f"{url} does not answer: {error!r}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise TrainingError(f"{url} does not answer as vLLM does: {error!r}") from error
    if name in known:
        raise TrainingError(f"{url} serves {name} already; publish under a new name")


def push(
    published: Path, url: str, *, served_path: str | None = None, api_key: str | None = None
) -> None:
    """Loads a published adapter into a running vLLM server.

    Args:
        published: Folder of the adapter, named after it.
        url: Base URL of the server.
        served_path: Path of the folder on the server, where it differs.
        api_key: What to show the server, if it wants a key.

    Raises:
        TrainingError: The server does not answer, serves the name already, or does not load adapters
            at run time.
    """
    name = published.name
    check_server(url, name, api_key=api_key)
    try:
        answer = httpx.post(
            f"{url.rstrip('/')}/v1/load_lora_adapter",
            json={"lora_name": name, "lora_path": served_path or str(published.absolute())},
            headers=_authorization(api_key),
            timeout=_LOAD_TIMEOUT_S,
        )
    except httpx.HTTPError as error:
        raise TrainingError(f"{url} does not answer: {error!r}") from error
    if answer.status_code == 404:
        raise TrainingError(
            f"{url} does not load adapters at run time: start vLLM with --enable-lora and "
            "VLLM_ALLOW_RUNTIME_LORA_UPDATING=True, or serve the merged model (eleven times as fast on "
            "a CPU)"
        )
    if answer.is_error:
        raise TrainingError(f"{url} did not load {name}: {answer.status_code} {answer.text[:500]}")


def _authorization(api_key: str | None) -> dict[str, str]:
    return {"Authorization": f"Bearer {api_key}"} if api_key else {}


def _claim(home: Path, name: str) -> None:
    """Reserves a name for ever. Of two processes that ask at once, one gets it."""
    names = home / "adapters" / ".names"
    names.mkdir(parents=True, exist_ok=True)
    try:
        (names / name).touch(exist_ok=False)
    except FileExistsError as error:
        raise TrainingError(f"the name {name} was used before; choose one that was not") from error
