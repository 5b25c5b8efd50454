"""A scorer is its content: the same name on two hosts, or with other files later, is another one."""

from __future__ import annotations

import contextlib
import logging
import secrets
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from services.profiles.scoring.content import Contents
from services.profiles.scoring.registry import Registry
from services.profiles.telemetry import LOGGER
from tests.support.asgi import running
from tests.support.bundles import little
from tests.support.waiting import eventually_async

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from pathlib import Path

    import httpx

    from services.profiles.settings import Settings

pytestmark = [pytest.mark.anyio, pytest.mark.stack]

HEAT = {"id": "a", "title": "Heat (1995)", "category": "Crime"}


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Settings:
    """A tenant for each test, and two hosts with a folder each."""
    for host in ("one", "two"):
        (tmp_path / host).mkdir()
    return settings.model_copy(update={"tenant": secrets.token_hex(6)})


@pytest.fixture
def host(settings: Settings, tmp_path: Path) -> Callable[[str], Any]:
    """Starts a worker on a host."""
    return lambda name: running(settings.model_copy(update={"bundles": tmp_path / name}))


@pytest.fixture
async def hosts(
    host: Callable[[str], Any],
) -> AsyncIterator[tuple[httpx.AsyncClient, httpx.AsyncClient]]:
    async with contextlib.AsyncExitStack() as stack:
        one, two = [await stack.enter_async_context(host(name)) for name in ("one", "two")]
        yield one, two


@pytest.fixture
def place(tmp_path: Path, encoder: dict[str, str]) -> Callable[[str, float], str]:
    """Puts a bundle `same` whose scores are shifted in the place of what a host has."""

    def placed(host: str, shift: float) -> str:
        new = little(shift=shift, encoder=encoder).write(tmp_path / secrets.token_hex(4), "same")
        old = tmp_path / host / "same"
        shutil.rmtree(old, ignore_errors=True)
        new.rename(old)
        return Contents().of(old)

    return placed


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[logging.LogRecord]]:
    records: list[logging.LogRecord] = []
    handler = logging.Handler()
    monkeypatch.setattr(handler, "emit", records.append)
    LOGGER.addHandler(handler)
    yield records
    LOGGER.removeHandler(handler)


async def activate(api: httpx.AsyncClient, name: str = "same") -> dict[str, Any]:
    response = await api.post(f"/admin/scorers/{name}/activate")
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    return body


async def answered(api: httpx.AsyncClient) -> tuple[str, float] | None:
    """Returns the content that answers, and what it scores an item whose score is the shift."""
    response = await api.post("/score", json={"candidates": ["a"]})
    if response.status_code != 200:
        return None
    body = response.json()
    return body["scorer_content"], body["items"][0]["score"]


def answers(api: httpx.AsyncClient, content: str, shift: float) -> Callable[[], Awaitable[bool]]:
    async def asked() -> bool:
        return await answered(api) == (content, shift)

    return asked


async def trouble(api: httpx.AsyncClient) -> str | None:
    scorer = (await api.get("/readyz")).json()["dependencies"]["scorer"]
    error: str | None = scorer.get("error")
    return error


async def test_another_content_under_the_same_name_is_loaded_everywhere(
    hosts: tuple[httpx.AsyncClient, httpx.AsyncClient], place: Callable[[str, float], str]
) -> None:
    one, two = hosts
    (first,) = {place(name, 1.0) for name in ("one", "two")}
    assert (await activate(one))["active_content"] == first
    await eventually_async(answers(two, first, 1.0))

    (second,) = {place(name, 5.0) for name in ("one", "two")}
    names = await activate(two)
    assert (names["active"], names["previous"]) == ("same", "same")
    assert (names["active_content"], names["previous_content"]) == (second, first)
    assert await answered(two) == (second, 5.0)
    await eventually_async(answers(one, second, 5.0))


async def test_two_hosts_with_different_contents_say_so_and_do_not_serve_both(
    hosts: tuple[httpx.AsyncClient, httpx.AsyncClient],
    place: Callable[[str, float], str],
    host: Callable[[str], Any],
    logged: list[logging.LogRecord],
) -> None:
    one, two = hosts
    right, wrong = place("one", 1.0), place("two", 5.0)
    assert right != wrong
    await activate(one)

    async def told() -> bool:
        return await trouble(two) is not None

    await eventually_async(told)
    response = await two.post("/score", json={})
    assert (response.status_code, response.json()["code"]) == (503, "no-scorer")
    assert (response.json()["wanted"], response.json()["found"]) == (right, wrong)
    for text in (response.json()["detail"], await trouble(two), _conflict(await two.get(ADMIN))):
        assert right in str(text)
        assert wrong in str(text)
    (warned,) = [one for one in logged if "cannot be loaded" in one.getMessage()]
    assert right in str(vars(warned)["data"])
    assert wrong in str(vars(warned)["data"])
    # The host that has it answers, and has nothing to say.
    assert await answered(one) == (right, 1.0)
    assert await trouble(one) is None
    assert _conflict(await one.get(ADMIN)) is None
    (listed,) = (await two.get(ADMIN)).json()["scorers"]
    assert (listed["active"], listed["loaded"], listed["content"]) == (False, False, wrong)


async def test_a_worker_keeps_what_it_has_loaded_when_its_folder_is_replaced(
    hosts: tuple[httpx.AsyncClient, httpx.AsyncClient],
    place: Callable[[str, float], str],
    host: Callable[[str], Any],
) -> None:
    one, two = hosts
    (right,) = {place(name, 1.0) for name in ("one", "two")}
    await activate(one)
    await eventually_async(answers(two, right, 1.0))
    wrong = place("two", 5.0)

    async def told() -> bool:
        return wrong in str(await trouble(two))

    await eventually_async(told)
    assert await answered(two) == (right, 1.0)
    # One that starts there has only the other content.
    async with host("two") as new:
        assert await answered(new) is None
        assert await answered(two) == (right, 1.0)
        place("two", 1.0)

        async def well() -> bool:
            return await trouble(two) is None

        await eventually_async(well)


async def test_an_old_content_does_not_answer_beside_a_new_one_of_its_name(
    hosts: tuple[httpx.AsyncClient, httpx.AsyncClient], place: Callable[[str, float], str]
) -> None:
    one, two = hosts
    (first,) = {place(name, 1.0) for name in ("one", "two")}
    await activate(one)
    await eventually_async(answers(two, first, 1.0))
    second = place("one", 5.0)
    await activate(one)

    async def silent() -> bool:
        return await answered(two) is None

    await eventually_async(silent)
    detail = (await two.post("/score", json={})).json()["detail"]
    assert first in detail
    assert second in detail
    # Either host may make the content that it has the active one.
    await activate(two)
    assert await answered(two) == (first, 1.0)


async def test_a_roll_back_to_a_content_that_is_gone_is_refused(
    hosts: tuple[httpx.AsyncClient, httpx.AsyncClient], place: Callable[[str, float], str]
) -> None:
    one, _ = hosts
    first = place("one", 1.0)
    await activate(one)
    second = place("one", 5.0)
    await activate(one)
    response = await one.post("/admin/scorers/rollback")
    assert (response.status_code, response.json()["code"]) == (409, "other-content")
    assert (response.json()["wanted"], response.json()["found"]) == (first, second)
    assert await answered(one) == (second, 5.0)
    place("one", 1.0)
    back = (await one.post("/admin/scorers/rollback")).json()
    assert (back["active_content"], back["previous_content"]) == (first, second)
    assert await answered(one) == (first, 1.0)


async def test_a_bundle_for_vectors_of_another_size_is_refused_with_both_numbers(
    hosts: tuple[httpx.AsyncClient, httpx.AsyncClient],
    tmp_path: Path,
    encoder: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one, _ = hosts
    made = little(encoder=encoder)
    made.profile_weight = np.zeros((100, 2), np.float32)
    made.write(tmp_path / "one", "small")
    response = await one.post("/admin/scorers/small/activate")
    assert (response.status_code, response.json()["code"]) == (409, "mismatched-bundle")
    sizes = [{"what": "vector dimension", "bundle": "100 numbers", "service": "384 numbers"}]
    assert response.json()["differences"] == sizes
    (listed,) = (await one.get(ADMIN)).json()["scorers"]
    assert "100 numbers" in listed["refused"]

    # While the encoder does not answer, nobody knows: the first profile shows it.
    monkeypatch.setattr(Registry, "_vector_size", _unknown)
    await activate(one, "small")
    for body in ({"history": [HEAT]}, {"history": [HEAT], "reasons": False}):
        response = await one.post("/score", json=body)
        assert (response.status_code, response.json()["code"]) == (409, "mismatched-bundle")
        assert response.json()["differences"] == sizes
        assert "100 numbers" in response.json()["detail"]
        assert "384 numbers" in response.json()["detail"]
    assert (await one.post("/score", json={"user_id": "known"})).status_code == 200


ADMIN = "/admin/scorers"


def _conflict(response: httpx.Response) -> str | None:
    (listed,) = response.json()["scorers"]
    conflict: str | None = listed["conflict"]
    return conflict


async def _unknown(_: Registry) -> None:
    return None
