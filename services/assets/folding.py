"""Merges a LoRA adapter into its base model, for serving on a CPU. Needs no PyTorch.

A weight becomes W + lora_alpha / r * B A (arXiv 2106.09685, section 4.1), computed in float32 and
stored in the type of the base. `reclm-train merge` does the same with PEFT and compares the models; a
test compares both ways. PEFT would bring PyTorch into the image, 0.7 GB, and is slower.
"""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
from safetensors import SafetensorError, deserialize
from safetensors.numpy import save_file

from services.assets.errors import AssetError
from services.common.manifests import MANIFEST

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    _Factors = tuple[NDArray[np.float32], NDArray[np.float32]]

_CONFIG, _WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_PREFIX, _A, _B = "base_model.model.", ".lora_A.weight", ".lora_B.weight"
_TYPES = {"F32": np.float32, "F16": np.float16, "BF16": ml_dtypes.bfloat16}
_UNKNOWN = ("use_dora", "use_rslora", "fan_in_fan_out", "modules_to_save", "rank_pattern",
            "alpha_pattern")  # fmt: skip
"""Options of PEFT's configuration that make an adapter more than a sum of products."""


def fold(base: Path, adapter: Path, target: Path) -> None:
    """Writes a base model with an adapter merged into its weights.

    Args:
        base: Folder of the base model, with one or several safetensors files.
        adapter: PEFT folder of a plain LoRA adapter.
        target: An empty folder.

    Raises:
        AssetError: The adapter is damaged or of another kind, or for another base.
    """
    try:
        changes = _changes(adapter)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise AssetError(f"the adapter in {adapter} is damaged: {error!r}") from error
    for path in sorted(base.iterdir()):
        if path.suffix == ".safetensors":
            save_file(_changed(path, changes), target / path.name, metadata={"format": "pt"})
            (target / path.name).chmod(
                0o644
            )  # safetensors writes files that only their owner can read
        elif path.name != MANIFEST and path.is_file():
            shutil.copy(path, target / path.name)
    if changes:
        raise AssetError(
            f"the adapter in {adapter} changes {min(changes)}, which {base} does not have: it is for "
            "another base"
        )


def _changes(adapter: Path) -> dict[str, _Factors]:
    """Returns both factors of each change, by the name of the weight in the base."""
    config = json.loads((adapter / _CONFIG).read_text(encoding="utf-8"))
    more = [name for name in _UNKNOWN if config.get(name)]
    if more or config.get("bias", "none") != "none":
        raise AssetError(
            f"the adapter in {adapter} has {', '.join(more) or 'biases'}: merge it with reclm-train merge"
        )
    scale = np.float32(config["lora_alpha"] / config["r"])
    factors = _read(adapter / _WEIGHTS)
    found = {}
    for name in sorted(factors):
        layer = name.removesuffix(_A).removesuffix(_B)
        if layer == name:
            raise AssetError(
                f"the adapter in {adapter} has {name}, which is not a factor: merge it with reclm-train merge"
            )
        first, second = (factors[layer + part].astype(np.float32) for part in (_A, _B))
        found[layer.removeprefix(_PREFIX) + ".weight"] = (first, second * scale)
    return found


def _changed(path: Path, changes: dict[str, _Factors]) -> dict[str, NDArray[Any]]:
    """Returns the changed weights of a file, and removes them from `changes`."""
    weights = _read(path)
    for name in weights.keys() & changes.keys():
        first, second = changes.pop(name)
        before = weights[name]
        if before.shape != (second.shape[0], first.shape[1]):
            raise AssetError(
                f"{path}: {name} has shape {before.shape}, and the adapter is for shape "
                f"{(second.shape[0], first.shape[1])}: it is for another base"
            )
        with np.errstate(over="ignore"):
            after = (before.astype(np.float32) + second @ first).astype(before.dtype)
        if not np.isfinite(after).all():
            raise AssetError(f"{path}: with the adapter {name} is too large for {before.dtype}")
        weights[name] = after
    return weights


def _read(path: Path) -> dict[str, NDArray[Any]]:
    """Returns the tensors of a file. The NumPy reader of safetensors 0.8 has no bfloat16."""
    found = {}
    entries = deserialize(path.read_bytes())  # type: ignore[no-untyped-call]  # it has no types
    for name, entry in entries:
        kind = _TYPES.get(entry["dtype"])
        if kind is None:
            raise AssetError(
                f"{path}: {name} holds {entry['dtype']}; only F32, F16 and BF16 can be merged into"
            )
        found[name] = np.frombuffer(entry["data"], kind).reshape(entry["shape"])
    return found
