"""Tokens of a model's vocabulary that are banned while a profile is decoded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.common.tokenizer import read_tokenizer

if TYPE_CHECKING:
    from pathlib import Path

_LONE_SPACES = ("\u0120", "\u2581")
"""A space by itself, as byte-level tokenizers (Llama 3, SmolLM2) and SentencePiece write it."""


def lone_spaces(folder: Path) -> tuple[int, ...]:
    """Returns the ids of tokens that are a single space.

    A model that tends to write "1." instead of a phrase begins with one of them. Constrained to
    letters after it, the model continues in the middle of a word ("irexpert"). The tokens of words
    contain their leading space, so that no word needs these tokens.

    Args:
        folder: The model's, with `tokenizer.json`.

    Raises:
        TokenizerError: As `read_tokenizer` does.
    """
    tokenizer = read_tokenizer(folder)
    ids = (tokenizer.token_to_id(token) for token in _LONE_SPACES)
    return tuple(id_ for id_ in ids if id_ is not None)
