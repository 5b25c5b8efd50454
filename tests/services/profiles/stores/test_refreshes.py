"""What every queue of refreshes does, for each of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from services.profiles.domain.profile import ProfileKey
from services.profiles.stores.base import DeadLetter, Event, Refresh

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.profiles.stores.base import Refreshes
    from tests.services.profiles.stores.conftest import Deployment

    Deploy = Callable[..., Deployment]

pytestmark = pytest.mark.anyio


@pytest.fixture
def deployment(deploy: Deploy) -> Deployment:
    return deploy(refresh_quiet_s=0.15, refresh_max_wait_s=0.4, lease_s=0.6)


async def taken(queue: Refreshes, tenant: str, worker: str = "w", most: int = 9) -> list[Refresh]:
    return list((await queue.take(tenant, worker, most=most, holding=())).refreshes)


async def begun(deployment: Deployment, tenant: str, *users: str) -> list[Refresh]:
    """Schedules users, and has a worker take them when they are due."""
    await deployment.refreshes.schedule(tenant, users)
    await deployment.wait(0.2)
    return await taken(deployment.refreshes, tenant)


async def test_a_burst_is_one_refresh_when_it_is_over(deploy: Deploy, tenant: str) -> None:
    deployment = deploy(refresh_quiet_s=0.6, refresh_max_wait_s=60, lease_s=60)
    queue = deployment.refreshes
    for _ in range(5):
        await queue.schedule(tenant, ["u", "u"])
        assert await taken(queue, tenant) == []
        await deployment.wait(0.02)
    await deployment.wait(0.65)
    (refresh,) = await taken(queue, tenant)
    assert (refresh.user_id, refresh.tries) == ("u", 1)
    await queue.done(tenant, refresh)
    assert (await queue.take(tenant, "w", most=9, holding=())).waiting == 0


async def test_a_burst_without_end_is_refreshed_all_the_same(deploy: Deploy, tenant: str) -> None:
    deployment = deploy(refresh_quiet_s=60, refresh_max_wait_s=0.2, lease_s=60)
    queue = deployment.refreshes
    found: list[Refresh] = []
    for _ in range(20):
        await queue.schedule(tenant, ["u"])
        found += await taken(queue, tenant)
        await deployment.wait(0.02)
    assert 1 <= len(found) < 20


async def test_who_is_under_way_is_not_taken_again_before_the_end_of_that(
    deployment: Deployment, tenant: str
) -> None:
    queue = deployment.refreshes
    await queue.schedule(tenant, ["u", "v"])
    await deployment.wait(0.2)
    refreshes = await taken(queue, tenant)
    for _ in range(4):
        await queue.schedule(tenant, ["u"])
        await deployment.wait(0.2)
        assert (await queue.take(tenant, "w", most=9, holding=refreshes)).refreshes == ()
        assert await taken(queue, tenant, "other") == []
    for refresh in refreshes:
        await queue.done(tenant, refresh)
    await deployment.wait(0.2)
    (again,) = await taken(queue, tenant)
    assert (again.user_id, again.tries) == ("u", 1)
    await queue.done(tenant, again)


async def test_an_end_that_comes_late_ends_no_other_refresh(
    deployment: Deployment, tenant: str
) -> None:
    queue = deployment.refreshes
    for worker in ("first", "second"):
        await queue.schedule(tenant, ["u"])
        await deployment.wait(0.2)
        (refresh,) = await taken(queue, tenant, worker)
        if worker == "first":
            late = refresh
            await queue.done(tenant, refresh)
    await queue.done(tenant, late)
    await queue.schedule(tenant, ["u"])
    await deployment.wait(0.2)
    assert await taken(queue, tenant, "third") == []


async def test_no_more_is_taken_than_asked_for_and_the_longest_due_first(
    deployment: Deployment, tenant: str
) -> None:
    queue = deployment.refreshes
    for user in ("a", "b", "c"):
        await queue.schedule(tenant, [user])
        await deployment.wait(0.01)
    await deployment.wait(0.2)
    none = await queue.take(tenant, "w", most=0, holding=())
    assert (none.refreshes, none.waiting) == ((), 3)
    assert 0.03 < none.lag_s < 3
    assert [refresh.user_id for refresh in await taken(queue, tenant, most=2)] == ["a", "b"]
    assert [refresh.user_id for refresh in await taken(queue, tenant, "x", most=2)] == ["c"]


async def test_who_dies_between_taking_and_ending_loses_nothing(
    deployment: Deployment, tenant: str
) -> None:
    queue = deployment.refreshes
    await queue.schedule(tenant, ["u"])
    await deployment.wait(0.2)
    (lost,) = await taken(queue, tenant, "dies")
    assert await taken(queue, tenant, "lives") == []
    await deployment.wait(0.65)
    (found,) = await taken(queue, tenant, "lives")
    assert found == Refresh(lost.entry, "u", 2)


async def test_who_renews_keeps_what_it_has(deployment: Deployment, tenant: str) -> None:
    queue = deployment.refreshes
    await queue.schedule(tenant, ["u"])
    await deployment.wait(0.2)
    held = await taken(queue, tenant, "slow")
    for _ in range(8):
        await deployment.wait(0.1)
        await queue.take(tenant, "slow", most=0, holding=held)
        assert await taken(queue, tenant, "other") == []


async def test_a_failure_waits_and_events_do_not_shorten_that(
    deployment: Deployment, tenant: str
) -> None:
    queue = deployment.refreshes
    await queue.schedule(tenant, ["u", "v"])
    await deployment.wait(0.2)
    by_user = {refresh.user_id: refresh for refresh in await taken(queue, tenant)}
    await queue.later(tenant, by_user["u"], pause_s=0.6, counts=True)
    await queue.later(tenant, by_user["v"], pause_s=0.6, counts=False)
    await queue.schedule(tenant, ["u"])
    await deployment.wait(0.3)
    assert await taken(queue, tenant) == []
    await deployment.wait(0.4)
    found = {refresh.user_id: refresh.tries for refresh in await taken(queue, tenant)}
    assert found == {"u": 2, "v": 1}


async def test_a_queue_is_of_one_tenant(deployment: Deployment, tenant: str) -> None:
    await deployment.refreshes.schedule(tenant, ["u"])
    await deployment.wait(0.2)
    other = await deployment.refreshes.take(tenant + "x", "w", most=9, holding=())
    assert (other.refreshes, other.waiting, other.lag_s) == ((), 0, 0.0)


async def test_what_is_given_up_is_kept_with_the_reason(
    deployment: Deployment, tenant: str
) -> None:
    queue = deployment.refreshes
    (first,) = await begun(deployment, tenant, "é:1")
    await queue.later(tenant, first, pause_s=0.1, counts=True)
    (second, third) = await begun(deployment, tenant, "é:1", "v")
    for refresh in sorted((second, third), key=lambda one: -one.tries):
        await queue.dead_letter(tenant, refresh, f"because of {refresh.user_id}")
        await queue.dead_letter(tenant, refresh, "a second time")
    letters = [DeadLetter("é:1", "because of é:1", 2), DeadLetter("v", "because of v", 1)]
    assert await queue.dead_letters(tenant) == letters
    assert await queue.dead_letters(tenant + "x") == []
    (again,) = await begun(deployment, tenant, "é:1")
    assert again.tries == 1
    assert (await queue.take(tenant, "w", most=0, holding=())).waiting == 1


async def test_a_late_end_does_not_reset_the_tries_of_another_refresh(
    deployment: Deployment, tenant: str
) -> None:
    queue = deployment.refreshes
    (late,) = await begun(deployment, tenant, "u")
    await queue.later(tenant, late, pause_s=0.1, counts=True)
    (failed,) = await begun(deployment, tenant, "u")
    await queue.done(tenant, late)
    await queue.later(tenant, failed, pause_s=0.1, counts=True)
    (third,) = await begun(deployment, tenant, "u")
    assert third.tries == 3


async def test_a_worker_that_leaves_may_come_back(deployment: Deployment, tenant: str) -> None:
    queue = deployment.refreshes
    await queue.leave(tenant, "w")
    (refresh,) = await begun(deployment, tenant, "u")
    await queue.leave(tenant, "w")
    await queue.done(tenant, refresh)
    await queue.leave(tenant, "w")
    assert [one.user_id for one in await begun(deployment, tenant, "u")] == ["u"]


async def test_no_refresh_is_left_of_an_erased_user(deployment: Deployment, tenant: str) -> None:
    queue = deployment.refreshes
    for refresh in await begun(deployment, tenant, "u", "other"):
        await queue.dead_letter(tenant, refresh, "because")
    await begun(deployment, tenant, "u")
    await queue.schedule(tenant, ["u"])
    await deployment.one.erase(ProfileKey(tenant, "user", "u"))
    assert await queue.dead_letters(tenant) == [DeadLetter("other", "because", 1)]
    await deployment.wait(0.7)  # as long as a lease: what was under way is not claimed either
    left = await queue.take(tenant, "x", most=9, holding=())
    assert (left.refreshes, left.waiting) == ((), 0)


@pytest.mark.parametrize("end", ["done", "later", "dead_letter"])
async def test_the_end_of_an_erased_users_refresh_brings_nothing_back(
    end: str, deployment: Deployment, tenant: str
) -> None:
    queue = deployment.refreshes
    (refresh,) = await begun(deployment, tenant, "u")
    await deployment.one.erase(ProfileKey(tenant, "user", "u"))
    await deployment.one.interactions.append(tenant, [Event("u", "i", 1)])
    if end == "done":
        await queue.done(tenant, refresh)
    elif end == "later":
        await queue.later(tenant, refresh, pause_s=0.1, counts=False)
    else:
        await queue.dead_letter(tenant, refresh, "because")
    await deployment.wait(0.7)
    assert (await queue.take(tenant, "w", most=9, holding=[refresh])).waiting == 0
    assert await queue.dead_letters(tenant) == []
    (again,) = await begun(deployment, tenant, "u")
    assert again.tries == 1


async def test_a_user_who_was_erased_while_under_way_is_not_put_off(
    deployment: Deployment, tenant: str
) -> None:
    await begun(deployment, tenant, "u")
    await deployment.one.erase(ProfileKey(tenant, "user", "u"))
    assert [one.user_id for one in await begun(deployment, tenant, "u")] == ["u"]
