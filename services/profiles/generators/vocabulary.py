"""What a model's vocabulary has that decoding a profile is better off without."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.common.tokenizer import read_tokenizer

if TYPE_CHECKING:
    from pathlib import Path

_LONE_SPACES = ("\u0120", "\u2581")
"""A space by itself, as byte-level tokenizers (Llama 3, SmolLM2) and SentencePiece write it."""


def lone_spaces(folder: Path) -> tuple[int, ...]:
    """Returns the ids of tokens that are a space and nothing more.

    A model that would rather write "1." than a phrase begins with one of them; held to letters
    after it, it goes on in the middle of a word ("irexpert"). Words have their space in front, in
    one token, so nothing is lost without these.

    Args:
        folder: The model's, with `tokenizer.json`.

    Raises:
        TokenizerError: As `read_tokenizer` does.
    """
    tokenizer = read_tokenizer(folder)
    ids = (tokenizer.token_to_id(token) for token in _LONE_SPACES)
    return tuple(id_ for id_ in ids if id_ is not None)
