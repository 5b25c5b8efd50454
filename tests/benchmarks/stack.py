"""The real servers that benchmarks run against, each started when it is first asked for."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Self

import httpx

from reclm_client import Item, ProfileRequest, ReclmClient
from recommenders.data.readers.movielens import fetch_ml_100k
from services.assets.fetch import get_model
from services.profiles.errors import MalformedGeneration
from tests.conftest import MODEL
from tests.support.servers import RedisServer, Service

if TYPE_CHECKING:
    from pathlib import Path

    from recommenders.data.dataset import Dataset

WORKERS = 2
LIKED = 4.0
"""A film counts as chosen from this many stars on."""
HISTORY = 20
"""Films of a user's history that a request names, the newest."""


@dataclass(frozen=True, slots=True)
class User:
    """A user of MovieLens: the films chosen last, oldest first."""

    id: str
    history: tuple[str, ...]


class Stack:
    """Redis, vLLM, the service with two workers, and the users of MovieLens-100K.

    RECLM_TEST_VLLM_URL names a vLLM to use instead of one of its own.

    Args:
        folder: For logs.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._exit = contextlib.ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._exit.close()

    @cached_property
    def dataset(self) -> Dataset:
        return fetch_ml_100k()

    @cached_property
    def items(self) -> dict[str, Item]:
        """The films, by id."""
        columns = ("item_id", "title", "category")
        rows = zip(*(self.dataset.items[name].to_pylist() for name in columns), strict=True)
        return {id_: Item(id=id_, title=title, category=category) for id_, title, category in rows}

    @cached_property
    def users(self) -> list[User]:
        """Users who chose something."""
        histories = self.dataset.histories(min_weight=LIKED)
        return [User(id_, tuple(items[-HISTORY:])) for id_, items in histories.items()]

    @cached_property
    def model_folder(self) -> Path:
        return get_model(MODEL)

    @cached_property
    def redis(self) -> RedisServer:
        return self.new_redis("redis")

    def new_redis(self, name: str) -> RedisServer:
        """Starts a Redis with nothing in it."""
        folder = self.folder / name
        folder.mkdir()
        server = RedisServer(folder)
        server.start()
        self._exit.callback(server.process.stop)
        return server

    @cached_property
    def vllm_url(self) -> str:
        if given := os.environ.get("RECLM_TEST_VLLM_URL"):
            return given
        from tests.support.vllm import VllmServer

        server = VllmServer(self.folder)
        server.start()
        self._exit.callback(server.process.stop)
        return server.url

    @cached_property
    def base_settings(self) -> dict[str, str]:
        """The service's environment, all but the model server, for what asks no model."""
        return {
            "RECLM_REDIS_URL": self.redis.url,
            "RECLM_MODEL": MODEL,
            "RECLM_MODEL_PATH": str(self.model_folder),
            "RECLM_ENCODER_PATH": str(get_model("all-MiniLM-L6-v2-int8")),
        }

    @cached_property
    def settings(self) -> dict[str, str]:
        """The service's environment."""
        return {**self.base_settings, "RECLM_VLLM_URL": self.vllm_url}

    @cached_property
    def service(self) -> Service:
        """The service, with the films in its catalogue."""
        service = Service(self.folder, workers=WORKERS, env=self.settings)
        service.start()
        self._exit.callback(service.process.stop)
        with ReclmClient(service.url) as client:
            for row in client.put_items(self.items.values()):
                if row.error is not None:
                    raise row.error
        return service

    def profiled(self, count: int) -> list[User]:
        """Returns users who have a profile in the service's Redis, made now if need be.

        Users for whom the model does not manage to write one are passed over.
        """
        rows = (ProfileRequest(id=user.id, history=user.history) for user in self.users)
        found: list[User] = []
        with (
            ReclmClient(self.service.url, chunk_rows=16, chunks_in_flight=1) as client,
            contextlib.closing(client.profiles("user", rows)) as answers,
        ):
            for user, row in zip(self.users, answers, strict=True):
                if row.error is None:
                    found.append(user)
                elif row.error.code != MalformedGeneration.code:
                    raise row.error
                if len(found) == count:
                    return found
        raise RuntimeError(f"only {len(found)} of {count} users have a profile")

    def versions(self) -> dict[str, str]:
        """Returns the versions of the servers that run."""
        found = {}
        if "redis" in self.__dict__:
            found["redis-server"] = str(self.redis.client().info("server")["redis_version"])
        if "vllm_url" in self.__dict__:
            answer = httpx.get(f"{self.vllm_url}/version", timeout=10)
            found["vllm"] = str(answer.raise_for_status().json()["version"])
        return found
