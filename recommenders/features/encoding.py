"""Vectors of texts, by the sentence encoder that the service uses, in this process."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

_AT_ONCE = 512


def encode(
    texts: Sequence[str],
    folder: Path,
    *,
    threads: int = 1,
    progress: Callable[[int], None] | None = None,
) -> NDArray[np.float32]:
    """Encodes texts; an empty one gets zeros.

    Args:
        texts: n texts, of which the first 256 tokens count.
        folder: Of the encoder: model.onnx and tokenizer.json.
        threads: Cores to use.
        progress: Told how many texts are done.

    Returns:
        Float32 of unit length, (n, dimension).

    Raises:
        EncoderUnavailable: The folder holds no encoder, or it failed.
    """
    # Imported here: ONNX Runtime takes a while, and snapshots are read without it.
    from services.profiles.encoders.onnx import OnnxEncoder

    written = [row for row, text in enumerate(texts) if text.strip()]

    async def go() -> NDArray[np.float32]:
        encoder = OnnxEncoder(folder, threads=threads, max_batch=_AT_ONCE)
        vectors = np.zeros((len(texts), encoder.dimension), np.float32)
        try:
            for start in range(0, len(written), _AT_ONCE):
                rows = written[start : start + _AT_ONCE]
                vectors[rows] = await encoder.encode([texts[row] for row in rows])
                if progress is not None:
                    progress(start + len(rows))
        finally:
            await encoder.aclose()
        return vectors

    return asyncio.run(go())


def encoder_name(folder: Path) -> str:
    """Returns an encoder's name and content hash, as profiles of the service carry it."""
    from services.profiles.encoders.onnx import OnnxEncoder

    async def go() -> str:
        encoder = OnnxEncoder(folder)
        try:
            return f"{encoder.component.name}@{encoder.component.hash}"
        finally:
            await encoder.aclose()

    return asyncio.run(go())
