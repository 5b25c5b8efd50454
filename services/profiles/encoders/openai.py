"""A sentence encoder behind HTTP: any server with OpenAI's /v1/embeddings (vLLM, TEI, Ollama)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import httpx
import numpy as np

from services.profiles import upstream
from services.profiles.domain.profile import Component, canonical_hash
from services.profiles.encoders.batcher import Batcher
from services.profiles.errors import EncoderRefused, EncoderUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

_ATTEMPTS = 2
# A slow answer must not delay the next batches; the server has a queue of its own.
_CONCURRENCY = 4


class OpenAIEncoder:
    """Asks a server for embeddings and scales them to unit length.

    The server does not report a hash of its weights, so the component's hash is made from the
    model's name. Give a new model a new name.
    """

    def __init__(
        self,
        *,
        url: str,
        model: str,
        timeout_s: float,
        api_key: str | None = None,
        max_batch: int = 64,
        on_batch: Callable[[int], None] | None = None,
    ) -> None:
        """Makes the client; connects on first use.

        Args:
            url: The server's address, with or without `/v1`.
            model: The name under which the server knows the model.
            timeout_s: Limit for a call.
            api_key: Sent as a bearer token.
            max_batch: The most texts in a request.
            on_batch: Called with the number of texts of each request.
        """
        self._model = model
        self._component = Component(model, canonical_hash(("openai", model), size=6).hex())
        self._timeout_s = timeout_s
        self._dimension: int | None = None
        self._url = url.rstrip("/").removesuffix("/v1") + "/v1/embeddings"
        self._http = httpx.AsyncClient(
            headers={"Authorization": f"Bearer {api_key}"} if api_key else {},
            timeout=timeout_s,
            limits=httpx.Limits(max_connections=_CONCURRENCY),
        )
        self._batcher = Batcher(
            self._request, max_batch=max_batch, concurrency=_CONCURRENCY, on_batch=on_batch
        )

    @property
    def component(self) -> Component:
        """The model's name and a hash of it."""
        return self._component

    async def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Returns unit-length vectors, shape (len(texts), dimension), in order.

        Raises:
            InvalidInput: A text holds a lone surrogate.
            EncoderUnavailable: No usable answer in time, or the encoder is closed.
            EncoderRefused: The server refuses the texts.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                if texts:
                    return await self._batcher.encode(texts)
                if self._dimension is None:  # known from an answer only
                    await self._batcher.encode(["ready"])
                return np.empty((0, self._dimension or 0), np.float32)
        except TimeoutError as error:
            raise self._late() from error

    async def check(self) -> None:
        """Encodes a word. Raises EncoderUnavailable if that fails."""
        await self.encode(["ready"])

    async def aclose(self) -> None:
        """Lets requests under way finish and closes the connections."""
        await self._batcher.aclose()
        await self._http.aclose()

    def _late(self) -> EncoderUnavailable:
        return EncoderUnavailable(f"the encoder did not answer within {self._timeout_s:g} s")

    async def _request(self, texts: list[str]) -> NDArray[np.float32]:
        body: dict[str, object] = {
            "model": self._model,
            "input": texts,
            "encoding_format": "float",
        }
        try:
            async with asyncio.timeout(self._timeout_s):
                response = await self._post(body)
        except TimeoutError as error:
            raise self._late() from error
        if response.status_code != httpx.codes.OK:
            raise _failure(response, texts)
        return self._parse(response, len(texts))

    async def _post(self, body: dict[str, object]) -> httpx.Response:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return await self._http.post(self._url, json=body)
            except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError) as error:
                # A kept connection that the server had just closed: ask on a fresh one.
                if attempt == _ATTEMPTS:
                    raise EncoderUnavailable("the encoder closed the connection") from error
            except httpx.HTTPError as error:
                raise EncoderUnavailable(
                    f"the encoder cannot be reached ({type(error).__name__})"
                ) from error
        raise AssertionError

    def _parse(self, response: httpx.Response, count: int) -> NDArray[np.float32]:
        try:
            data = response.json()["data"]
            order = [int(entry["index"]) for entry in data]
            rows = np.array([entry["embedding"] for entry in data], np.float64)
        except (ValueError, KeyError, TypeError) as error:
            raise EncoderUnavailable("the encoder answered 200 without embeddings") from error
        if sorted(order) != list(range(count)) or rows.ndim != 2:
            raise EncoderUnavailable(f"the encoder did not answer with {count} vectors")
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        if not np.isfinite(lengths).all() or not lengths.all():
            raise EncoderUnavailable("the encoder answered with a vector that has no direction")
        if self._dimension not in {None, rows.shape[1]}:
            raise EncoderUnavailable(
                f"the encoder's vectors had {self._dimension} numbers and now have "
                f"{rows.shape[1]}: the model {self._model!r} was exchanged; restart the service "
                "with the new model's name"
            )
        self._dimension = rows.shape[1]
        unit = np.empty(rows.shape, np.float32)
        unit[order] = rows / lengths
        return unit


def _failure(response: httpx.Response, texts: Sequence[str]) -> EncoderUnavailable:
    if upstream.refuses(response):
        why = upstream.words(response, texts)
        said = f": {why}" if why else ""
        return EncoderRefused(f"the encoder refuses the texts with {response.status_code}{said}")
    error = EncoderUnavailable(f"the encoder answered {response.status_code}")
    seconds = upstream.retry_after(response)
    if seconds is not None:
        error.retry_after = seconds
    return error
