"""How the service is put together: what it opens, and what it refuses to start with."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

import pytest

from services.profiles.container import assemble
from services.profiles.domain.profile import Component, Item, ProfileKey
from services.profiles.domain.requests import ProfileRequest
from services.profiles.errors import ModelUnavailable
from services.profiles.generation.adapters import WrongPrompt
from services.profiles.generation.prompts.base import component
from services.profiles.generation.prompts.registry import CURRENT, PROMPTS, UnknownPrompt
from services.profiles.settings import Settings
from services.profiles.telemetry import Metrics
from services.stack.adapters import SHIPPED, find_adapter
from tests.services.profiles.generation.prompts.versions import ProfileV2
from tests.support.processes import free_port

if TYPE_CHECKING:
    from pathlib import Path

    from services.profiles.domain.profile import ProfileVersion

pytestmark = pytest.mark.anyio

BARE = component(CURRENT, examples=False)


async def version_of(**settings: Any) -> ProfileVersion:
    """Assembles a service that keeps everything in memory; nothing is asked of any server."""
    made = Settings(store="memory", encoder="openai", encoder_url="http://127.0.0.1:9", **settings)
    async with contextlib.AsyncExitStack() as stack:
        return (await assemble(made, Metrics(), stack)).profiles.version


def adapter(folder: Path, **manifest: object) -> Path:
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


async def test_a_service_in_memory_answers_without_redis() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    settings = Settings(store="memory", encoder="openai", encoder_url=url, vllm_url=url)
    key = ProfileKey("default", "user", "u")
    async with contextlib.AsyncExitStack() as stack:
        parts = await assemble(settings, Metrics(), stack)
        assert [one.name for one in parts.dependencies] == ["memory", "model", "encoder", "scorer"]
        await parts.dependencies[0].check()
        await parts.catalogue.put_items("default", [Item("heat", "Heat (1995)")])
        with pytest.raises(ModelUnavailable):
            await parts.profiles.profile(ProfileRequest(key, ("heat",)))
        assert await parts.profiles.erase(key) is False


async def test_a_prompt_is_chosen_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (await version_of()).prompt == component(CURRENT, examples=True)
    assert (await version_of(adapter="a", prompt="profile-v1")).prompt == BARE
    later = ProfileV2()
    monkeypatch.setitem(PROMPTS, later.name, later)
    assert (await version_of(prompt=later.name)).prompt == component(later, examples=True)
    with pytest.raises(UnknownPrompt, match=r"'profile-v0'.*profile-v1, profile-v2"):
        await version_of(prompt="profile-v0")


async def test_the_shipped_adapter_is_served(tmp_path: Path) -> None:
    folder = find_adapter(tmp_path, SHIPPED).folder
    assert (await version_of(adapter=SHIPPED, adapter_path=folder)).prompt == BARE


@pytest.mark.parametrize(
    ("prompt", "asked"),
    [
        (Component("profile-v1", "0123456789ab"), None),
        (Component("profile-v1", "0123456789ab"), "profile-v1"),
        (Component("profile-v0", BARE.hash), None),
    ],
)
async def test_an_adapter_of_another_prompt_is_refused(
    prompt: Component, asked: str | None, tmp_path: Path
) -> None:
    folder = adapter(tmp_path, prompt={"name": prompt.name, "hash": prompt.hash})
    with pytest.raises(WrongPrompt) as refused:
        await version_of(adapter="films-1", adapter_path=folder, prompt=asked)
    for one in (prompt, BARE):
        assert f"{one.name} ({one.hash})" in str(refused.value)


async def test_an_adapter_is_served_with_its_own_prompt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = ProfileV2()
    monkeypatch.setitem(PROMPTS, later.name, later)
    trained = component(later, examples=False)
    folder = adapter(tmp_path, prompt={"name": trained.name, "hash": trained.hash})
    assert (await version_of(adapter="films-1", adapter_path=folder)).prompt == trained
    with pytest.raises(WrongPrompt, match=r"profile-v2.*profile-v1"):
        await version_of(adapter="films-1", adapter_path=folder, prompt="profile-v1")


async def test_a_folder_that_names_no_prompt_is_refused(tmp_path: Path) -> None:
    for folder in (tmp_path, adapter(tmp_path, name="films-1")):
        with pytest.raises(ValueError, match=r"manifest\.json does not say what prompt"):
            await version_of(adapter="films-1", adapter_path=folder)
