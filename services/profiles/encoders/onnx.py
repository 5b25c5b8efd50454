"""A sentence encoder in this process: tokenizers and ONNX Runtime, no PyTorch."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime as ort

from services.assets.errors import AssetError
from services.common.errors import ArtifactError
from services.common.manifests import content_hash
from services.common.tokenizer import read_tokenizer
from services.profiles.domain.profile import Component
from services.profiles.encoders.batcher import Batcher
from services.profiles.errors import EncoderUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from tokenizers import Tokenizer

_MODEL = "model.onnx"
_NEEDED = {"input_ids", "attention_mask"}
_READABLE = {*_NEEDED, "token_type_ids"}
_MAX_TOKENS = 256
# Truncation to 256 tokens comes after tokenizing, which takes a second for a text of 1 MB.
_MAX_CHARACTERS = 64 * _MAX_TOKENS
# Texts of similar length are computed together, since padding is computed too.
_ROWS_AT_ONCE = 8


class OnnxEncoder:
    """Mean pooling over the tokens of a transformer, scaled to unit length.

    Takes float and int8 models that read `input_ids`, `attention_mask` and optionally
    `token_type_ids`, and whose first output has one vector for each token.
    """

    def __init__(
        self,
        folder: Path,
        *,
        threads: int = 1,
        max_batch: int = 64,
        on_batch: Callable[[int], None] | None = None,
    ) -> None:
        """Loads the model.

        Args:
            folder: Holds model.onnx and tokenizer.json.
            threads: Cores that one batch may use.
            max_batch: The most texts in a batch.
            on_batch: Called with the size of each batch.

        Raises:
            EncoderUnavailable: The folder does not hold such a model.
        """
        try:
            self._component = Component(folder.name, content_hash(folder, _MODEL))
            self._tokenizer = _load_tokenizer(folder)
            session = _load_session(folder / _MODEL, threads)
        except ArtifactError as error:
            raise EncoderUnavailable(
                f"{error}; fetch an encoder with `reclm-serve models get` and set its folder"
            ) from error
        self._inputs = {node.name for node in session.get_inputs()}
        (output, *_) = session.get_outputs()
        if not _NEEDED <= self._inputs <= _READABLE or (
            len(output.shape) != 3 or not isinstance(output.shape[2], int)
        ):
            raise EncoderUnavailable(
                f"{folder / _MODEL} is not a sentence encoder: it reads {sorted(self._inputs)} "
                f"and its first output has shape {output.shape}"
            )
        self._session: ort.InferenceSession | None = session
        self._dimension: int = output.shape[2]
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="encoder")
        self._batcher = Batcher(
            self._in_worker, max_batch=max_batch, concurrency=1, on_batch=on_batch
        )

    @property
    def component(self) -> Component:
        """The folder's name, and the hash of the model file."""
        return self._component

    @property
    def dimension(self) -> int:
        """Numbers in a vector."""
        return self._dimension

    async def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Returns unit-length vectors, shape (len(texts), dimension), in order.

        Only the first 256 tokens of a text are used.

        Raises:
            InvalidInput: A text holds a lone surrogate.
            EncoderUnavailable: The model failed, or the encoder is closed.
        """
        if not texts:
            return np.empty((0, self._dimension), np.float32)
        return await self._batcher.encode(texts)

    async def check(self) -> None:
        """Encodes a word. Raises EncoderUnavailable if that fails."""
        await self.encode(["ready"])

    async def aclose(self) -> None:
        """Lets the batch under way finish, ends the worker thread and frees the model's memory."""
        await self._batcher.aclose()
        self._worker.shutdown(wait=False)
        # The encoder and its batcher refer to each other, so the model would stay until Python
        # looks for such cycles, which it does by the number of objects and not by their size.
        self._session = None

    async def _in_worker(self, texts: list[str]) -> NDArray[np.float32]:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._worker, self._encode, texts)

    def _encode(self, texts: list[str]) -> NDArray[np.float32]:
        encodings = self._tokenizer.encode_batch([text[:_MAX_CHARACTERS] for text in texts])
        tokens = [encoding.ids for encoding in encodings]
        order = sorted(range(len(tokens)), key=lambda row: len(tokens[row]))
        vectors = np.empty((len(tokens), self._dimension), np.float32)
        for start in range(0, len(order), _ROWS_AT_ONCE):
            rows = order[start : start + _ROWS_AT_ONCE]
            vectors[rows] = self._compute([tokens[row] for row in rows])
        return vectors

    def _compute(self, tokens: list[list[int]]) -> NDArray[np.float32]:
        ids = np.zeros((len(tokens), max(map(len, tokens))), np.int64)
        mask = np.zeros_like(ids)
        for row, values in enumerate(tokens):
            ids[row, : len(values)] = values
            mask[row, : len(values)] = 1
        feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        if self._session is None:
            raise EncoderUnavailable("the encoder is closed")
        (states, *_) = self._session.run(
            None, {name: value for name, value in feed.items() if name in self._inputs}
        )
        weights = mask[:, :, None].astype(np.float32)
        pooled = (states.astype(np.float32) * weights).sum(axis=1) / weights.sum(axis=1)
        unit: NDArray[np.float32] = pooled / np.linalg.norm(pooled, axis=1, keepdims=True)
        return unit


def _load_tokenizer(folder: Path) -> Tokenizer:
    tokenizer = read_tokenizer(folder)
    tokenizer.no_padding()
    tokenizer.enable_truncation(_MAX_TOKENS)
    return tokenizer


def _load_session(path: Path, threads: int) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Otherwise idle threads spin, and take the core from the event loop.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's errors have no common base but Exception
        raise AssetError(f"{path} is not a model that ONNX Runtime can load: {error}") from error
