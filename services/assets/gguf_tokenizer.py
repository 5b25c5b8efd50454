"""Writes a GGUF file's tokenizer in the format that transformers and vLLM load."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from services.assets.errors import AssetError
from services.common.files import write_text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_NORMAL, _CONTROL, _USER_DEFINED = 1, 3, 4
_EXPECTED = {
    "model": "gpt2",
    "pre": "smollm",
    "add_space_prefix": False,
    "add_bos_token": False,
    "add_eos_token": False,
}


def write_tokenizer(metadata: Mapping[str, Any], folder: Path) -> dict[str, int]:
    """Writes tokenizer.json and tokenizer_config.json, chat template included.

    GGUF names the pre-tokenizer but does not describe it. Only SmolLM's is supported: single
    digits, then GPT-2's pattern.

    Returns:
        The ids of the special tokens, under their names in config.json.

    Raises:
        AssetError: The tokenizer is of another kind or is incomplete.
    """
    keys = {
        name.removeprefix("tokenizer.ggml."): value
        for name, value in metadata.items()
        if name.startswith("tokenizer.ggml.")
    }
    for key, expected in _EXPECTED.items():
        found = keys.get(key, None if key in {"model", "pre"} else expected)
        if found != expected:
            raise AssetError(
                f"the GGUF file's tokenizer has {key} = {found!r}, and only {expected!r} is "
                "supported; get the model from the Hub: `reclm-serve models get ORG/MODEL`"
            )
    try:
        tokens, kinds, merges = keys["tokens"], keys["token_type"], keys["merges"]
        special = {f"{name}_token_id": int(keys[f"{name}_token_id"]) for name in ("bos", "eos")}
    except KeyError as error:
        raise AssetError(f"the GGUF file has no metadata tokenizer.ggml.{error.args[0]}") from error
    special["pad_token_id"] = int(keys.get("padding_token_id", special["eos_token_id"]))
    if unknown := set(kinds) - {_NORMAL, _CONTROL, _USER_DEFINED}:
        raise AssetError(f"the GGUF file's tokenizer has tokens of unknown type {min(unknown)}")
    if len(set(tokens)) != len(kinds) or not all(0 <= i < len(tokens) for i in special.values()):
        raise AssetError("the GGUF file's tokens, token types and special ids are inconsistent")
    _byte_level_bpe(tokens, kinds, merges).save(str(folder / "tokenizer.json"))
    config: dict[str, object] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        **{name.removesuffix("_id"): tokens[number] for name, number in special.items()},
        "model_max_length": metadata["llama.context_length"],
        "clean_up_tokenization_spaces": False,
    }
    if "unknown_token_id" in keys:
        config["unk_token"] = tokens[keys["unknown_token_id"]]
    if "tokenizer.chat_template" in metadata:
        config["chat_template"] = metadata["tokenizer.chat_template"]
    write_text(
        folder / "tokenizer_config.json",
        json.dumps(config, indent=2, ensure_ascii=False) + "\n",
    )
    return special


def _byte_level_bpe(tokens: list[str], kinds: list[int], merges: list[str]) -> Tokenizer:
    pairs = [(left, right) for left, _, right in (merge.partition(" ") for merge in merges)]
    tokenizer = Tokenizer(
        models.BPE(vocab={token: number for number, token in enumerate(tokens)}, merges=pairs)
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    added = [(token, kind) for token, kind in zip(tokens, kinds, strict=True) if kind != _NORMAL]
    tokenizer.add_special_tokens(
        [AddedToken(token, normalized=False) for token, kind in added if kind == _CONTROL]
    )
    tokenizer.add_tokens(
        [AddedToken(token, normalized=False) for token, kind in added if kind == _USER_DEFINED]
    )
    return tokenizer
