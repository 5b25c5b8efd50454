"""The scripted model: profiles that the service takes, with a trace of what was asked."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import httpx
import pytest

from services.profiles.domain.profile import Item, Kind
from services.profiles.generation.grammar import parse
from services.profiles.generation.prompts.item_text import item_line
from services.profiles.generation.prompts.registry import CURRENT
from tests.chaos.model import MODELS, ModelCall, Server, calls_in, profile_text
from tests.chaos.subjects import Content, text_of
from tests.chaos.words import read
from tests.support.processes import free_port
from tests.support.waiting import eventually_async

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

CONTENTS = (Content(7, 1, 0), Content(7, 1, 1))


def request(kind: Kind) -> dict[str, Any]:
    """Returns what the service asks about two items."""
    first, second = (item_line(Item("", **text_of(content))) for content in CONTENTS)
    messages = (
        CURRENT.user_messages([first, second])
        if kind == "user"
        else CURRENT.item_messages(second, [])
    )
    turns = [{"role": one.role, "content": one.content} for one in messages]
    return {"model": MODELS[1], "messages": turns}


@pytest.mark.parametrize("kind", ["user", "item"])
def test_what_it_writes_is_a_profile_of_the_newest_item(kind: Kind) -> None:
    words = parse(kind, profile_text(request(kind), 12345))
    said = dict(phrase.split(" ", 1) for phrase in (*words.identities, *words.interests))
    assert read(said["record"]) == [CONTENTS[-1]]
    assert said["model"] == MODELS[1]
    assert read(said["began"]) == [(12345,)]


def test_a_call_is_in_the_log_when_it_is_answered(tmp_path: Path) -> None:
    async def ask() -> tuple[httpx.Response, httpx.Response, httpx.Response]:
        port = free_port()
        serving = asyncio.create_task(Server(tmp_path / "calls", seed=1).serve(port))
        transport = httpx.AsyncHTTPTransport(retries=5)
        url = f"http://127.0.0.1:{port}/v1"
        async with httpx.AsyncClient(transport=transport, timeout=60) as client:
            models = await client.get(f"{url}/models")
            answer = await client.post(f"{url}/chat/completions", json=request("user"))
            refused = await client.post(f"{url}/chat/completions", content=b'{"model": \xff')
        serving.cancel()
        return models, answer, refused

    models, answer, refused = asyncio.run(ask())
    assert {one["id"] for one in models.json()["data"]} == set(MODELS)
    assert refused.status_code == 400
    (call,) = calls_in(tmp_path / "calls")
    assert isinstance(call, ModelCall)
    assert (call.about, call.model) == (CONTENTS[-1], MODELS[1])
    assert call.ended is not None
    assert call.ended > call.begun
    text = answer.json()["choices"][0]["message"]["content"]
    ((began_ns,),) = read(json.dumps(text).split("began", 1)[1].split(";")[0])
    assert began_ns / 1e9 == call.begun


@pytest.mark.parametrize("after", ["the request", "the answer"])
def test_an_answer_that_nobody_has_read_was_given_up(tmp_path: Path, after: str) -> None:
    log = tmp_path / "calls"

    async def ask() -> None:
        port = free_port()
        server = Server(log, seed=1)
        serving = asyncio.create_task(server.serve(port))
        body = json.dumps(request("user")).encode()
        await eventually_async(lambda: _sent(port, body, log, after))
        await eventually_async(lambda: _given_up(log))
        serving.cancel()

    asyncio.run(ask())


async def _sent(port: int, body: bytes, log: Path, after: str) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    head = f"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    await writer.drain()
    if after == "the answer":
        await eventually_async(lambda: _ended(log))
    writer.close()
    return True


async def _ended(log: Path) -> bool:
    return any(call.ended for call in calls_in(log))


async def _given_up(log: Path) -> bool:
    return [call.given_up for call in calls_in(log)] == [True]
