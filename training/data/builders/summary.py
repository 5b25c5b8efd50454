"""What a builder's manifest and its last words say of a build."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from training.data.errors import InstructionDataError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping
    from pathlib import Path

    from recommenders.data.dataset import Dataset


def prompt_of(args: argparse.Namespace) -> dict[str, Any]:
    """Returns what decides how a prompt reads."""
    from services.profiles.generation.prompts.base import component
    from training.data.folder import digest_of

    prompt = component(args.prompt, examples=args.examples)
    counted = f"sha256 {digest_of(args.model / 'tokenizer.json')}" if args.model else "bytes"
    return {
        "name": prompt.name,
        "hash": prompt.hash,
        "history_tokens": args.history_tokens,
        "max_items": args.max_items,
        "tokenizer": counted,
    }


def dataset_of(args: argparse.Namespace, dataset: Dataset) -> dict[str, Any]:
    """Returns what stands for a dataset and the part of it that was read."""
    from training.data.sources import fingerprint

    return {
        "name": dataset.info.name,
        "split": args.split,
        "min_weight": args.min_weight,
        "fingerprint": fingerprint(dataset),
    }


def refuse_nothing(count: int, reasons: Mapping[str, int]) -> None:
    """Raises InstructionDataError where a builder has no rows to write, and says why."""
    if not count:
        raise InstructionDataError(f"nothing is left: {_listed(reasons)}")


def told(manifest: Mapping[str, Any], folder: Path) -> str:
    """Returns what to print of a folder that was written."""
    lines = [
        f"{file['rows']:,} rows in {folder / name}" for name, file in manifest["files"].items()
    ]
    lines += [
        f"{member.replace('_', ' ')}: {_listed(manifest[member])}"
        for member in ("dropped", "left_out", "counts")
        if member in manifest
    ]
    if manifest.get("cut"):
        lines.append(f"{manifest['cut']:,} prompts have no room for all that was drawn")
    if "phrases" in manifest:
        lines.append(f"{manifest['phrases']:,} phrases to choose among")
    if manifest.get("bland"):
        lines.append(f"{manifest['bland']:,} of the training rows left out as too bland")
    if manifest.get("undecodable_kept"):
        lines.append(
            f"{manifest['undecodable_kept']:,} of the kept could not be written under constrained "
            "decoding; --strict drops them"
        )
    return "\n".join([*lines, f"fingerprint: {manifest['fingerprint']}"])


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items()) or "nothing"
