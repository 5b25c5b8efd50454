"""A tiny random Llama with the real tokenizer, and rows for it: a job takes seconds."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from services.profiles.domain.profile import Item
from services.profiles.generation.prompts.item_text import item_line
from services.profiles.generation.prompts.registry import CURRENT
from training.runs.options import LoraOptions, RunPaths

if TYPE_CHECKING:
    from pathlib import Path

LORA = LoraOptions(r=4, lora_alpha=8)

_FILMS = ("Alien (1979)", "Brazil (1985)", "Babe (1995)", "Heat (1995)", "Fargo (1996)")
_WORDS = ("quiet", "bold", "rainy", "golden", "tender", "hidden", "northern", "clever")


def make_model(
    folder: Path, tokenizer_of: Path, *, layers: int = 2, seed: int = 0, tied: bool = True
) -> Path:
    """Writes a random Llama of some thousand parameters beside its embeddings."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=49152,
                hidden_size=32,
                intermediate_size=64,
                num_hidden_layers=layers,
                num_attention_heads=2,
                num_key_value_heads=1,
                max_position_embeddings=1024,
                tie_word_embeddings=tied,
                bos_token_id=1,
                eos_token_id=2,
                pad_token_id=2,
                initializer_range=0.2,
            )
        )
    model.save_pretrained(str(folder))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tokenizer_of / name, folder / name)
    return folder


def profile(number: int) -> str:
    first, second = _WORDS[number % 8], _WORDS[(number // 8 + number + 1) % 8]
    return (
        f"User identity: {first} film lover, {second} evening viewer, patient {first} reader; "
        f"User interests: {second} stories, {first} heroes, slow {second} endings."
    )


def messages(number: int) -> list[dict[str, str]]:
    lines = [item_line(Item("", film)) for film in _FILMS[: 1 + number % 5]]
    turns = CURRENT.user_messages(lines, examples=False)
    return [{"role": turn.role, "content": turn.content} for turn in turns]


def said(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


def distill_rows(count: int) -> list[dict[str, object]]:
    return [
        {"kind": "user", "id": str(n), "prompt": messages(n), "completion": said(profile(n))}
        for n in range(count)
    ]


def dialogue_rows(count: int) -> list[dict[str, object]]:
    return [
        {
            "id": str(n),
            "messages": [
                *messages(n),
                {"role": "assistant", "content": profile(n)},
                {"role": "user", "content": f"Will the user choose {_FILMS[n % 5]}?"},
                {"role": "assistant", "content": "Yes" if n % 2 else "No"},
            ],
        }
        for n in range(count)
    ]


def preference_rows(count: int) -> list[dict[str, object]]:
    kinds = ("neighbour", "full stop", "empty template", "identity only")
    worse = {
        "neighbour": profile(count + 3),
        "full stop": ".",
        "empty template": "User identity: , , ; User interests: , , .",
        "identity only": profile(0).split(";")[0] + ".",
    }
    return [
        {
            "id": str(n),
            "prompt": messages(n),
            "chosen": said(profile(n)),
            "rejected": said(worse[kinds[n % 4]]),
            "corruption": kinds[n % 4],
        }
        for n in range(count)
    ]


def policy_rows(count: int) -> list[dict[str, object]]:
    return [
        {
            "id": str(n),
            "prompt": messages(n),
            "lines": list(_FILMS[: 1 + n % 5]),
            "neighbours": [profile(n + 1), profile(n + 2)],
        }
        for n in range(count)
    ]


def write_rows(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def paths(model: Path, data: Path, out: Path, **more: Path | None) -> RunPaths:
    return RunPaths(model=model, data=data, out=out, **more)
