"""POST /items:batch on a real Redis."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from services.profiles.stores.redis.catalogue import RedisCatalogue

if TYPE_CHECKING:
    from collections.abc import Sequence

    import httpx

    from services.profiles.domain.profile import Item

pytestmark = [pytest.mark.anyio, pytest.mark.stack]


async def test_of_rows_with_one_id_the_last_stays_and_other_rows_do_not_wait(
    api: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = RedisCatalogue.put_items
    put_in_turn: list[str] = []

    async def slower_the_sooner(self: RedisCatalogue, tenant: str, items: Sequence[Item]) -> None:
        (item,) = items
        await asyncio.sleep(0.3 - int(item.title) / 20)
        await put(self, tenant, items)
        put_in_turn.append(item.title)

    monkeypatch.setattr(RedisCatalogue, "put_items", slower_the_sooner)
    rows = [{"id": id_, "title": str(title)} for title, id_ in enumerate(["a", "a", "b", "a", "c"])]
    body = "\n".join(map(json.dumps, rows))
    response = await api.post(
        "/items:batch", content=body, headers={"Content-Type": "application/x-ndjson"}
    )
    answers = [json.loads(line) for line in response.text.splitlines()]
    assert [(row["id"], row["status_code"]) for row in answers] == [
        (row["id"], 200) for row in rows
    ]
    assert put_in_turn == ["4", "2", "0", "1", "3"]
    assert (await api.get("/items/a")).json()["title"] == "3"
