"""Encodes texts in this process with the sentence encoder that the service uses."""

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
    """Encodes texts; the vector of an empty text is zeros.

    Args:
        texts: n texts; only the first 256 tokens of each count.
        folder: The encoder's folder, with model.onnx and tokenizer.json.
        threads: Number of threads.
        progress: Called with the number of texts encoded so far.

    Returns:
        Float32 of unit length, (n, dimension).

    Raises:
        EncoderUnavailable: The folder has no encoder, or the encoder failed.
    """
    # Imported here, since importing ONNX Runtime is slow and reading a snapshot does not need it.
    from services.profiles.encoders.onnx import OnnxEncoder

    written = [row for row, text in enumerate(texts) if text.strip()]

    async def run() -> NDArray[np.float32]:
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

    return asyncio.run(run())


def encoder_name(folder: Path) -> str:
    """Returns an encoder's name and content hash as `name@hash`, as in the version of profiles."""
    from services.profiles.encoders.onnx import OnnxEncoder

    async def run() -> str:
        encoder = OnnxEncoder(folder)
        try:
            return f"{encoder.component.name}@{encoder.component.hash}"
        finally:
            await encoder.aclose()

    return asyncio.run(run())
