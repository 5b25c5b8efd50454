"""Reads the tokenizer of a model or an encoder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.common.errors import ArtifactError

if TYPE_CHECKING:
    from pathlib import Path

    from tokenizers import Tokenizer


class TokenizerError(ArtifactError):
    """A folder has no tokenizer, or one that cannot be read."""


def read_tokenizer(folder: Path) -> Tokenizer:
    """Reads `tokenizer.json` in a folder.

    Raises:
        TokenizerError: The file is missing or is not a tokenizer.
    """
    from tokenizers import Tokenizer

    path = folder / "tokenizer.json"
    if not path.is_file():
        raise TokenizerError(f"{path} is missing")
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises plain Exception
        raise TokenizerError(f"{path} is not a tokenizer: {error}") from error
