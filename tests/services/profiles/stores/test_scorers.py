"""What every store of scorers' names does, for each of them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from services.profiles.stores.base import ScorerNames

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.services.profiles.stores.conftest import Deployment

    Deploy = Callable[..., Deployment]

pytestmark = pytest.mark.anyio


async def test_nothing_is_active_at_first(deploy: Deploy, tenant: str) -> None:
    scorers, _ = deploy().scorers
    assert await scorers.names(tenant) == ScorerNames(None, None)


async def test_the_active_one_becomes_the_previous_one(deploy: Deploy, tenant: str) -> None:
    scorers, other = deploy().scorers
    assert await scorers.activate(tenant, "a") == ScorerNames("a", None)
    assert await other.activate(tenant, "b") == ScorerNames("b", "a")
    assert await scorers.activate(tenant, "Zoë-3") == ScorerNames("Zoë-3", "b")
    assert await other.names(tenant) == ScorerNames("Zoë-3", "b")
    assert await other.names(tenant + "x") == ScorerNames(None, None)


async def test_to_activate_the_active_one_changes_nothing(deploy: Deploy, tenant: str) -> None:
    scorers, _ = deploy().scorers
    for name in ("a", "a", "b", "b"):
        names = await scorers.activate(tenant, name)
    assert names == ScorerNames("b", "a")


async def test_a_swap_exchanges_what_is_as_expected(deploy: Deploy, tenant: str) -> None:
    scorers, other = deploy().scorers
    await scorers.activate(tenant, "a")
    await scorers.activate(tenant, "b")
    assert await other.swap(tenant, ScorerNames("b", "a"))
    assert await scorers.names(tenant) == ScorerNames("a", "b")
    assert await scorers.swap(tenant, ScorerNames("a", "b"))
    assert await other.names(tenant) == ScorerNames("b", "a")


@pytest.mark.parametrize(
    "expected",
    [
        ScorerNames("a", "b"),
        ScorerNames("b", "c"),
        ScorerNames("b", None),
        ScorerNames(None, "a"),
        ScorerNames(None, None),
    ],
)
async def test_a_swap_changes_nothing_that_is_not_as_expected(
    expected: ScorerNames, deploy: Deploy, tenant: str
) -> None:
    scorers, _ = deploy().scorers
    await scorers.activate(tenant, "a")
    await scorers.activate(tenant, "b")
    assert not await scorers.swap(tenant, expected)
    assert await scorers.names(tenant) == ScorerNames("b", "a")


async def test_nothing_is_swapped_without_a_previous_one(deploy: Deploy, tenant: str) -> None:
    scorers, _ = deploy().scorers
    for expected in (ScorerNames(None, None), ScorerNames("a", None)):
        assert not await scorers.swap(tenant, expected)
        await scorers.activate(tenant, "a")
    assert await scorers.names(tenant) == ScorerNames("a", None)


async def test_one_of_many_swaps_wins(deploy: Deploy, tenant: str) -> None:
    views = deploy().scorers
    await views[0].activate(tenant, "a")
    names = await views[0].activate(tenant, "b")
    swaps = await asyncio.gather(*(views[n % 2].swap(tenant, names) for n in range(9)))
    assert sum(swaps) == 1
    assert await views[0].names(tenant) == ScorerNames("a", "b")
