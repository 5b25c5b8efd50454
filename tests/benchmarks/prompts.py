"""The very bytes that the service sends to its model server for a user, recorded once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx

from tests.benchmarks.recorder import Recorder
from tests.support.servers import Service

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.benchmarks.stack import Stack, User


def record(stack: Stack, users: Sequence[User]) -> dict[str, bytes]:
    """Returns what the service sends to its model server, by user.

    A second instance sends it to a recorder that answers 503: no model, and nothing stored.
    """
    with Recorder(stack.vllm_url) as recorder:
        env = {**stack.service.process.env, "RECLM_VLLM_URL": recorder.url}
        service = Service(stack.folder, workers=1, env=env)
        service.start()
        try:
            prompts = {}
            with httpx.Client(base_url=service.url, timeout=30) as http:
                for user in users:
                    body = {"id": user.id, "history": user.history, "refresh": True}
                    http.post("/profiles/user", json=body)
                    (prompts[user.id],) = recorder.take()
        finally:
            service.process.stop()
    return prompts
