"""What a builder writes to its manifest about its inputs, and what it prints at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from training.data.errors import InstructionDataError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping
    from pathlib import Path

    from recommenders.data.dataset import Dataset


def prompt_of(args: argparse.Namespace) -> dict[str, Any]:
    """Returns the prompt's name and hash, and the budget of its history."""
    from services.common.hashing import sha256_of
    from services.profiles.generation.prompts.base import component

    prompt = component(args.prompt, examples=args.examples)
    counted = f"sha256 {sha256_of(args.model / 'tokenizer.json')}" if args.model else "bytes"
    return {
        "name": prompt.name,
        "hash": prompt.hash,
        "history_tokens": args.history_tokens,
        "max_items": args.max_items,
        "tokenizer": counted,
    }


def dataset_of(args: argparse.Namespace, dataset: Dataset) -> dict[str, Any]:
    """Returns the name and fingerprint of a dataset, and which part of it was read."""
    from training.data.sources import fingerprint

    return {
        "name": dataset.info.name,
        "split": args.split,
        "min_weight": args.min_weight,
        "fingerprint": fingerprint(dataset),
    }


def options_of(args: argparse.Namespace, *names: str) -> dict[str, Any]:
    """Returns arguments by name."""
    return {name: getattr(args, name) for name in names}


def refuse_empty(count: int, reasons: Mapping[str, int]) -> None:
    """Raises InstructionDataError where a builder has no rows to write; the message says why."""
    if not count:
        raise InstructionDataError(f"nothing is left: {_listed(reasons)}")


def summary(manifest: Mapping[str, Any], folder: Path) -> str:
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
        lines.append(f"{manifest['cut']:,} prompts do not have room for all drawn items")
    if "phrases" in manifest:
        lines.append(f"{manifest['phrases']:,} phrases to choose from")
    if manifest.get("bland"):
        lines.append(f"{manifest['bland']:,} of the training rows left out as too bland")
    if manifest.get("undecodable_kept"):
        lines.append(
            f"{manifest['undecodable_kept']:,} of the kept profiles cannot be generated under "
            "constrained decoding; --strict drops them"
        )
    return "\n".join([*lines, f"fingerprint: {manifest['fingerprint']}"])


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items()) or "nothing"
