"""Reads the tokenizer of a model or an encoder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.assets.errors import AssetError

if TYPE_CHECKING:
    from pathlib import Path

    from tokenizers import Tokenizer


def read_tokenizer(folder: Path) -> Tokenizer:
    """Returns what `tokenizer.json` in a folder says.

    Raises:
        AssetError: It is missing, or says nothing that can be read.
    """
    from tokenizers import Tokenizer

    path = folder / "tokenizer.json"
    if not path.is_file():
        raise AssetError(f"{path} is missing")
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises plain Exception
        raise AssetError(f"{path} is not a tokenizer: {error}") from error
