"""A model server in its own process that writes what it was asked about, and when, into profiles.

A profile's phrases carry the trace of the newest item in the prompt, the model's name, and the time
at which this server began to write it. Every call is also a line in a log file, which outlives a
killed server. Vary the latency with the seed: `python -m tests.chaos.model --port 9 --log calls`.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from services.profiles.domain.profile import PHRASES
from tests.chaos.subjects import Content
from tests.chaos.words import read, spell

if TYPE_CHECKING:
    from collections.abc import Callable

MODELS = ("scripted-one", "scripted-two")
"""The names of one model: a service of each has a version of its own."""

_PADDING = ("old music", "long talks", "dark humour", "slow travel", "good food", "night walks")
_SPREAD_S = (0.05, 0.35)
_LONG_S = 1.5
_LONG_SHARE = 0.04
_KEPT_OPEN_S = 1.0
"""The service keeps a connection open for longer than this after an answer that it has read."""


@dataclass(frozen=True, slots=True)
class ModelCall:
    """A call of the model.

    Attributes:
        input: A hash of what was asked.
        about: The trace of the newest item in it.
        begun: On the machine's monotonic clock, in seconds.
        ended: None if the server was killed before.
        given_up: The caller had gone when the answer was ready, or did not read it: the service puts
            prompts in the background off for somebody who waits, and asks again.
    """

    input: str
    about: Content | None
    model: str
    begun: float
    ended: float | None
    given_up: bool = False


def profile_text(request: dict[str, Any], began_ns: int) -> str:
    """Returns the profile that the scripted model writes."""
    prompt = request["messages"][-1]["content"]
    traces = read(prompt)
    kind = "item" if prompt.startswith("The item:") else "user"
    about = spell(*traces[-1]) if traces else "nobody"
    name, wanted = kind.capitalize(), PHRASES[kind]
    phrases = [f"record {about}", f"model {request['model']}", f"began {spell(began_ns)}"]
    phrases += [f"of {spell(len(traces))}", *_PADDING, "far away places"]
    phrases = phrases[: 2 * wanted]
    return (
        f"{name} identity: {', '.join(phrases[:wanted])}; "
        f"{name} interests: {', '.join(phrases[wanted:])}."
    )


def calls_in(log: Path) -> list[ModelCall]:
    """Returns all calls of a log, in order of their beginnings."""
    begun: dict[str, dict[str, Any]] = {}
    ended: dict[str, dict[str, Any]] = {}
    if not log.exists():
        return []
    for line in log.read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        if "ended" in entry:
            ended[entry["call"]] = entry
        else:
            begun[entry["call"]] = entry
    calls = [
        ModelCall(
            entry["input"],
            Content(*entry["about"]) if len(entry["about"]) == 3 else None,
            entry["model"],
            entry["begun"],
            ended[call]["ended"] if call in ended else None,
            call in ended and ended[call].get("given_up", False),
        )
        for call, entry in begun.items()
    ]
    return sorted(calls, key=lambda call: call.begun)


class Server:
    """Answers the calls of the OpenAI API that the service makes."""

    def __init__(self, log: Path, *, seed: int) -> None:
        self._log = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self._random = random.Random(seed)

    async def serve(self, port: int) -> None:
        """Serves until the process ends."""
        server = await asyncio.start_server(self._connection, "127.0.0.1", port, limit=2**20)
        async with server:
            await server.serve_forever()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answered: str | None = None
        answered_at = 0.0
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                first, *lines = head.decode("latin-1").split("\r\n")
                headers = dict(line.lower().split(": ", 1) for line in lines if ": " in line)
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                status, answer, answered = await self._answer(first, body, reader.at_eof)
                answered_at = time.monotonic()
                raw = json.dumps(answer).encode()
                writer.write(
                    f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\n"
                    f"Content-Length: {len(raw)}\r\n\r\n".encode()
                    + raw
                )
                await writer.drain()
        except (OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            # A caller may go at any time, and proxies damage what they forward.
            if answered is not None and time.monotonic() - answered_at < _KEPT_OPEN_S:
                self._write(call=answered, ended=answered_at, given_up=True)
        finally:
            writer.close()

    async def _answer(
        self, first: str, body: bytes, gone: Callable[[], bool]
    ) -> tuple[str, dict[str, Any], str | None]:
        """Returns the status, the body, and the call's name in the log; None for what is no call."""
        if first.startswith("GET "):
            models = [{"id": name, "max_model_len": 16384} for name in MODELS]
            return "200 OK", {"object": "list", "data": models}, None
        try:
            request = json.loads(body)
            return "200 OK", *await self._complete(request, gone)
        except (ValueError, KeyError, TypeError) as error:
            return "400 Bad Request", {"error": {"message": f"not a request: {error}"}}, None

    async def _complete(
        self, request: dict[str, Any], gone: Callable[[], bool]
    ) -> tuple[dict[str, Any], str]:
        began_ns = time.monotonic_ns()
        text = profile_text(request, began_ns)
        digest = hashlib.blake2b(
            json.dumps(request["messages"]).encode(), digest_size=16
        ).hexdigest()
        call = f"{os.getpid()}-{began_ns}"
        traces = read(request["messages"][-1]["content"])
        about = traces[-1] if traces else ()
        self._write(
            call=call, input=digest, about=about, model=request["model"], begun=began_ns / 1e9
        )
        low, high = _SPREAD_S
        long = self._random.random() < _LONG_SHARE
        await asyncio.sleep(_LONG_S if long else self._random.uniform(low, high))
        self._write(call=call, ended=time.monotonic(), given_up=gone())
        answer = {"role": "assistant", "content": text}
        completion = {
            "object": "chat.completion",
            "model": request["model"],
            "choices": [{"index": 0, "message": answer, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 100, "completion_tokens": 50},
        }
        return completion, call

    def _write(self, **entry: Any) -> None:
        os.write(self._log, json.dumps(entry).encode() + b"\n")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.model", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--log", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    asyncio.run(Server(given.log, seed=given.seed).serve(given.port))


if __name__ == "__main__":
    main()
