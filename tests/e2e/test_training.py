"""The adapter that RecLM ships: merged, served by a real vLLM, and used by the service."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest
import torch
from safetensors.torch import load_file

from services.profiles.generation.prompts.registry import CURRENT
from services.stack.adapters import SHIPPED, find_adapter
from tests.support.servers import Service
from tests.support.vllm import MODEL, VllmServer
from training.data.rows import Turn
from training.evaluation.comparison import compare
from training.evaluation.writers import HeldOut, ServedWriter
from training.modeling.lora import load_model

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from services.stack.adapters import Adapter

pytestmark = [pytest.mark.stack, pytest.mark.model, pytest.mark.timeout(400)]

FILMS = (
    "Alien (1979) | Horror, Sci-Fi", "Babe (1995) | Children's, Comedy", "Heat (1995) | Crime",
    "Fargo (1996) | Crime, Drama", "Casablanca (1942) | Drama, Romance", "Fantasia (1940) | Animation",
    "Top Hat (1935) | Musical", "Unforgiven (1992) | Western", "Hamlet (1996) | Drama",
)  # fmt: skip


@pytest.fixture(scope="module")
def adapter(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Adapter:
    """The adapter, with its merged model made in a folder of this run."""
    found = find_adapter(tmp_path_factory.mktemp("home"), SHIPPED)
    found.fold_into(model_folder)
    return found


@pytest.fixture(scope="module")
def vllm(adapter: Adapter, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VllmServer]:
    server = VllmServer(tmp_path_factory.mktemp("vllm"), model=adapter.merged, name=adapter.name)
    try:
        server.start()
        yield server
    finally:
        server.process.stop()


def test_the_service_s_profiles_carry_its_version(
    adapter: Adapter, vllm: VllmServer, service_env: dict[str, str], tmp_path: Path
) -> None:
    service = Service(tmp_path, env={**service_env, **adapter.settings, "RECLM_VLLM_URL": vllm.url})
    try:
        service.start()
        body = {"id": "trained", "history": [{"title": "Alien (1979)", "category": "Horror"}]}
        answer = httpx.post(f"{service.url}/profiles/user", json=body, timeout=120)
        version = answer.raise_for_status().json()["version"]
    finally:
        service.process.stop()
    assert version["adapter"] == {"name": SHIPPED, "hash": adapter.digest}
    assert version["base_model"]["name"] == MODEL


def test_it_writes_the_form_without_being_held_to_it(vllm: VllmServer) -> None:
    rows = [
        HeldOut(kind="user", id=str(first), prompt=_prompt(FILMS[first : first + 3]))
        for first in range(len(FILMS) - 2)
    ]
    assert len(rows) == 7
    evaluated = compare({SHIPPED: ServedWriter(vllm.url, SHIPPED)}, rows).evaluations
    assert evaluated[SHIPPED].well_formed > 0.5, "the base writes none"
    assert evaluated[SHIPPED].distinct > 0.8


def test_what_is_served_is_what_peft_makes_of_them(adapter: Adapter, model_folder: Path) -> None:
    wanted = load_model(model_folder, [adapter.folder], dtype=torch.float16).state_dict()
    found = load_file(adapter.merged / "model.safetensors")
    assert len(found) > 200
    for name, tensor in found.items():
        # The last bit may differ by rounding: sums are taken in another order.
        torch.testing.assert_close(tensor, wanted[name], rtol=2e-3, atol=1e-6)


def _prompt(lines: tuple[str, ...]) -> tuple[Turn, ...]:
    return tuple(
        Turn(role=turn.role, content=turn.content)
        for turn in CURRENT.user_messages(list(lines), examples=False)
    )
