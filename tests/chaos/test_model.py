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
