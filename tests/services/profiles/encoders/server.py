"""A real HTTP server with /v1/embeddings that computes with the ONNX encoder."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from services.profiles.encoders.base import Encoder


class EmbeddingsServer:
    """Answers with vectors of length 3, last text first, as the protocol permits.

    Attributes:
        fault: What to do instead of answering well: an HTTP status, a body, or "hang".
        headers: Additional headers of an answer with an HTTP status for a fault.
        message: The message of such an answer, instead of the texts.
        authorizations: The Authorization header of each request.
        sizes: The number of texts of each request.
    """

    def __init__(self, encoder: Encoder) -> None:
        self.fault: int | str | dict[str, Any] | None = None
        self.headers: dict[str, str] = {}
        self.message: str | None = None
        self.authorizations: list[str | None] = []
        self.sizes: list[int] = []
        self._encoder = encoder

        @asynccontextmanager
        async def lifespan(_: FastAPI) -> AsyncIterator[None]:
            yield
            await encoder.aclose()

        app = FastAPI(lifespan=lifespan)
        app.post("/v1/embeddings")(self._embeddings)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        config = uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=1)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],))
        self._thread.start()

    def close(self) -> None:
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()

    async def _embeddings(self, request: Request) -> JSONResponse:
        body = await request.json()
        self.authorizations.append(request.headers.get("authorization"))
        self.sizes.append(len(body["input"]))
        if self.fault == "hang":
            await asyncio.sleep(60)
        if isinstance(self.fault, int):
            said = self.message or f"{body['input'][0]}: cannot read {body['input']}"
            headers = {name: value.encode() for name, value in self.headers.items()}
            answer = JSONResponse({"error": {"message": said}}, self.fault)
            answer.raw_headers += [(name.lower().encode(), raw) for name, raw in headers.items()]
            return answer
        if self.fault is not None:
            return JSONResponse(self.fault)
        vectors = 3 * await self._encoder.encode(body["input"])
        data = [{"index": i, "embedding": row.tolist()} for i, row in enumerate(vectors)]
        return JSONResponse({"object": "list", "model": body["model"], "data": data[::-1]})
