"""What every store of active scorers does, for each of them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from services.profiles.stores.base import ActiveRefs, ScorerRef

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.services.profiles.stores.conftest import Deployment

    Deploy = Callable[..., Deployment]

pytestmark = pytest.mark.anyio

A, B, C = (ScorerRef(name, name * 32) for name in "abc")
ZOE = ScorerRef("Zoë-3", "0" * 32)


async def test_nothing_is_active_at_first(deploy: Deploy, tenant: str) -> None:
    scorers, _ = deploy().scorers
    assert await scorers.refs(tenant) == ActiveRefs(None, None)


async def test_the_active_one_becomes_the_previous_one(deploy: Deploy, tenant: str) -> None:
    scorers, other = deploy().scorers
    assert await scorers.activate(tenant, A) == ActiveRefs(A, None)
    assert await other.activate(tenant, B) == ActiveRefs(B, A)
    assert await scorers.activate(tenant, ZOE) == ActiveRefs(ZOE, B)
    assert await other.refs(tenant) == ActiveRefs(ZOE, B)
    assert await other.refs(tenant + "x") == ActiveRefs(None, None)


async def test_to_activate_the_active_one_changes_nothing(deploy: Deploy, tenant: str) -> None:
    scorers, _ = deploy().scorers
    for ref in (A, A, B, B):
        refs = await scorers.activate(tenant, ref)
    assert refs == ActiveRefs(B, A)


async def test_a_swap_exchanges_what_is_as_expected(deploy: Deploy, tenant: str) -> None:
    scorers, other = deploy().scorers
    await scorers.activate(tenant, A)
    await scorers.activate(tenant, B)
    assert await other.swap(tenant, ActiveRefs(B, A))
    assert await scorers.refs(tenant) == ActiveRefs(A, B)
    assert await scorers.swap(tenant, ActiveRefs(A, B))
    assert await other.refs(tenant) == ActiveRefs(B, A)


@pytest.mark.parametrize(
    "expected",
    [
        ActiveRefs(A, B),
        ActiveRefs(B, C),
        ActiveRefs(B, None),
        ActiveRefs(None, A),
        ActiveRefs(None, None),
    ],
)
async def test_a_swap_changes_nothing_that_is_not_as_expected(
    expected: ActiveRefs, deploy: Deploy, tenant: str
) -> None:
    scorers, _ = deploy().scorers
    await scorers.activate(tenant, A)
    await scorers.activate(tenant, B)
    assert not await scorers.swap(tenant, expected)
    assert await scorers.refs(tenant) == ActiveRefs(B, A)


async def test_nothing_is_swapped_without_a_previous_one(deploy: Deploy, tenant: str) -> None:
    scorers, _ = deploy().scorers
    for expected in (ActiveRefs(None, None), ActiveRefs(A, None)):
        assert not await scorers.swap(tenant, expected)
        await scorers.activate(tenant, A)
    assert await scorers.refs(tenant) == ActiveRefs(A, None)


async def test_one_of_many_swaps_wins(deploy: Deploy, tenant: str) -> None:
    views = deploy().scorers
    await views[0].activate(tenant, A)
    refs = await views[0].activate(tenant, B)
    swaps = await asyncio.gather(*(views[n % 2].swap(tenant, refs) for n in range(9)))
    assert sum(swaps) == 1
    assert await views[0].refs(tenant) == ActiveRefs(A, B)


async def test_another_content_under_the_same_name_is_another_bundle(
    deploy: Deploy, tenant: str
) -> None:
    scorers, other = deploy().scorers
    newer = ScorerRef("a", "1" * 32)
    await scorers.activate(tenant, A)
    assert await other.activate(tenant, newer) == ActiveRefs(newer, A)
    assert not await scorers.swap(tenant, ActiveRefs(A, newer))
    assert await scorers.swap(tenant, ActiveRefs(newer, A))
    assert await other.refs(tenant) == ActiveRefs(A, newer)


async def test_what_was_activated_by_its_name_alone_is_read_as_that(
    deploy: Deploy, tenant: str
) -> None:
    scorers, other = deploy().scorers
    older = ScorerRef("a", None)
    assert await scorers.activate(tenant, older) == ActiveRefs(older, None)
    assert await other.activate(tenant, A) == ActiveRefs(A, older)
