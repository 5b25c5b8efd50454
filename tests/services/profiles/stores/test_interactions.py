"""What every store of interactions does, for each of them."""

from __future__ import annotations

import itertools
import random
from typing import TYPE_CHECKING

import pytest

from services.profiles.stores.base import Event

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.profiles.stores.base import Interactions
    from tests.services.profiles.stores.conftest import Deployment

pytestmark = pytest.mark.anyio


def events(*items: str, user: str = "u", start: int = 1_000) -> list[Event]:
    """Returns events a millisecond apart."""
    return [Event(user, item, start + number) for number, item in enumerate(items)]


async def test_a_history_is_in_order_of_time_however_it_came(
    interactions: Interactions, tenant: str
) -> None:
    in_time = [
        Event("u", item, at) for item, at in [("c", 9), ("a", 255), ("b", 256), ("é:/", 2**40)]
    ]
    shuffled = random.Random(4).sample(in_time, k=4)
    await interactions.append(tenant, shuffled[:2])
    await interactions.append(tenant, shuffled[2:])
    assert await interactions.history(tenant, "u", limit=9) == ["c", "a", "b", "é:/"]
    assert await interactions.history(tenant, "u", limit=2) == ["b", "é:/"]
    assert await interactions.events(tenant, "u", limit=9) == in_time


async def test_each_user_of_each_tenant_has_a_history(
    interactions: Interactions, tenant: str
) -> None:
    await interactions.append(tenant, [])
    pairs = zip(events("a", "b"), events("c", "d", user="v:w"), strict=True)
    await interactions.append(tenant, list(itertools.chain.from_iterable(pairs)))
    assert await interactions.history(tenant, "u", limit=9) == ["a", "b"]
    assert await interactions.history(tenant, "v:w", limit=9) == ["c", "d"]
    assert await interactions.history(tenant, "nobody", limit=9) == []
    assert await interactions.history(tenant + "x", "u", limit=9) == []


async def test_an_event_sent_again_is_kept_once(interactions: Interactions, tenant: str) -> None:
    batch = events("a", "b", "a")
    await interactions.append(tenant, batch)
    await interactions.append(tenant, [*batch, *batch])
    assert await interactions.history(tenant, "u", limit=9) == ["a", "b", "a"]


async def test_only_the_newest_are_kept(interactions: Interactions, tenant: str) -> None:
    await interactions.append(tenant, events(*"abcdefg"))
    await interactions.append(tenant, [*events("old", start=1), *events("h", start=5_000)])
    assert await interactions.history(tenant, "u", limit=9) == list("defgh")


async def test_a_history_goes_when_nothing_was_added_for_its_time(
    deploy: Callable[..., Deployment], tenant: str
) -> None:
    deployment = deploy(profile_ttl_s=1)
    interactions = deployment.one.interactions
    await interactions.append(tenant, events("a"))
    await deployment.wait(0.7)
    await interactions.append(tenant, events("b", start=2_000))
    await deployment.wait(0.7)
    assert await interactions.history(tenant, "u", limit=9) == ["a", "b"]
    await deployment.wait(0.5)
    assert await interactions.history(tenant, "u", limit=9) == []
    await interactions.append(tenant, events("c", start=3_000))
    assert await interactions.history(tenant, "u", limit=9) == ["c"]
