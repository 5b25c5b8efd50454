"""Whether anybody waits for the model, as processes tell each other."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.services.profiles.stores.conftest import Deployment

pytestmark = pytest.mark.anyio


async def test_other_processes_see_when_somebody_came(
    deploy: Callable[..., Deployment], tenant: str
) -> None:
    both = deploy()
    assert await both.other.presence.quiet_s(tenant) == math.inf
    await both.one.presence.here(tenant)
    first = await both.other.presence.quiet_s(tenant)
    await both.wait(0.3)
    second = await both.other.presence.quiet_s(tenant)
    assert 0 <= first < second < 60
    assert second - first >= 0.25
    await both.one.presence.here(tenant)
    assert await both.other.presence.quiet_s(tenant) < second


async def test_tenants_do_not_see_each_other(
    deploy: Callable[..., Deployment], tenant: str
) -> None:
    both = deploy()
    await both.one.presence.here(tenant)
    assert await both.one.presence.quiet_s(f"{tenant}-other") == math.inf
