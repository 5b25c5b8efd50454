"""One connection pool to Redis, with failures as StoreUnavailable.

A server that was demoted to a replica refuses writes, but its connections stay open. So whoever is
told READONLY (or MOVED, in a cluster) empties the pool and asks once more: new connections go to
the server that the name, the Sentinels or the cluster give now.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from typing import TYPE_CHECKING, Any, TypeVar

from redis.asyncio import Redis
from redis.crc import key_slot
from redis.exceptions import MovedError, NoScriptError, RedisError

from services.profiles.errors import NotReplicated, StoreUnavailable
from services.profiles.stores.redis import address, keys, requirements
from services.profiles.stores.redis.faults import code_of, demoted, unavailable
from services.profiles.stores.redis.pool import ClusterMap, open_pool

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from pydantic import SecretStr

    from services.profiles.settings import Settings

T = TypeVar("T")
Command = tuple[bytes | str | int, ...]

LOGGER = logging.getLogger(__name__)

_LEAVE_PAUSE_S = 0.25
"""The pool is emptied at most so often: the server may stay a replica, and reads go on."""


class RedisClient:
    """Sends commands. Every failure is raised as StoreUnavailable.

    Replies are typed Any, since the types that redis-py declares are too wide to be useful.

    Args:
        url: As `address.parse` reads it.
        timeout_s: Limit for connecting, and for each reply.
        connections: Most connections of this process.
        password: For a URL without a password.
        sentinel_password: Of the Sentinels.
        tenant: Whose keys are used; in a cluster, only theirs can be.
        replicas: How many replicas must have an acknowledged write.
        replicas_s: How long to wait for them; less than `timeout_s`.

    Raises:
        ValueError: The URL cannot be used, or the reply to a write would come too late.
    """

    def __init__(
        self,
        *,
        url: str,
        timeout_s: float,
        connections: int,
        password: str | None = None,
        sentinel_password: str | None = None,
        tenant: str = "default",
        replicas: int = 0,
        replicas_s: float = 0.5,
    ) -> None:
        if replicas and replicas_s >= timeout_s:
            raise ValueError(
                f"RECLM_REDIS_WAIT_S ({replicas_s:g}) must be less than RECLM_REDIS_TIMEOUT_S "
                f"({timeout_s:g}): nobody would be there for the reply"
            )
        self.address = address.parse(url, password=password)
        self.probe = keys.probe(tenant)
        self._suitable = False
        self._pool, self.directory = open_pool(
            self.address,
            slot=key_slot(self.probe),
            timeout_s=timeout_s,
            connections=connections,
            sentinel_password=sentinel_password,
        )
        self._redis = Redis.from_pool(self._pool)
        self._replicas = replicas
        self._replicas_ms = int(replicas_s * 1000)
        self._left_at = 0.0

    async def call(self, *command: bytes | str | int) -> Any:  # noqa: ANN401 - see the class
        """Sends one command and returns its reply."""
        before = _cancellations()
        try:
            # redis-py does not type this method.
            return await self._redis.execute_command(*command)  # type: ignore[no-untyped-call]
        except (RedisError, OSError) as error:
            return await self._again(
                error,
                lambda: self._redis.execute_command(*command),  # type: ignore[no-untyped-call]
            )
        finally:
            _raise_cancellation(before)

    async def run(self, script: str, keys: list[bytes], *args: bytes | int) -> Any:  # noqa: ANN401
        """Runs a Lua script, by its hash if the server has it."""
        registered = self._redis.register_script(script)
        return await self._sent(lambda: registered(keys=keys, args=list(args)))

    async def write(self, script: str, keys: list[bytes], *args: bytes | int) -> Any:  # noqa: ANN401
        """Runs a Lua script whose writes are acknowledged to a caller.

        Raises:
            NotReplicated: Replicas are asked for, and it is not known that so many have the writes,
                for whatever reason. They are not undone.
        """
        if not self._replicas:
            return await self.run(script, keys, *args)
        digest = hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()
        given = (len(keys), *keys, *args)

        async def send() -> Any:  # noqa: ANN401
            try:
                (reply,) = await self._send([("EVALSHA", digest, *given)], acknowledged=True)
            except NoScriptError:
                (reply,) = await self._send([("EVAL", script, *given)], acknowledged=True)
            return reply

        try:
            return await self._sent(send)
        except NotReplicated:
            raise
        except StoreUnavailable as error:
            raise NotReplicated(error.detail) from error

    async def transaction(self, *commands: Command) -> list[Any]:
        """Sends commands as one MULTI in one round trip, and returns their replies."""

        async def send() -> list[Any]:
            sent = [("MULTI",), *commands, ("EXEC",)]
            *_, replies = await self._send(sent, acknowledged=False)
            for reply in replies:
                if isinstance(reply, RedisError):
                    raise reply
            return list(replies)

        return await self._sent(send)

    async def prove(self) -> None:
        """Checks that the server answers and takes writes, and once that it can serve at all.

        Raises:
            WritesFail: It answers, but takes no writes.
            StoreUnavailable: It does not answer, or is not fit, as `requirements` says.
        """
        if not self._suitable:
            if found := await requirements.fault(self):
                raise StoreUnavailable(found)
            self._suitable = True
        command = ("SET", self.probe, b"", "PX", 10_000)
        await self._sent(lambda: self._send([command], acknowledged=True))

    async def aclose(self) -> None:
        """Closes all connections."""
        await self._redis.aclose()
        await self._pool.disconnect()
        if self.directory is not None:
            await self.directory.aclose()

    async def _sent(self, send: Callable[[], Awaitable[T]]) -> T:
        before = _cancellations()
        try:
            return await send()
        except (RedisError, OSError) as error:
            return await self._again(error, send)
        finally:
            _raise_cancellation(before)

    async def _send(self, commands: Sequence[Command], *, acknowledged: bool) -> list[Any]:
        """Sends commands over one connection in one round trip, and waits for replicas if asked."""
        waits = acknowledged and self._replicas > 0
        async with self._redis.pipeline(transaction=False) as pipeline:
            for command in commands:
                pipeline.execute_command(*command)
            if waits:
                pipeline.execute_command("WAIT", self._replicas, self._replicas_ms)
            replies = await pipeline.execute(raise_on_error=False)
        for reply in replies:
            if isinstance(reply, Exception):
                raise reply
        if not waits:
            return replies
        *replies, reached = replies
        if reached < self._replicas:
            raise NotReplicated(
                f"the write reached {reached} of {self._replicas} replicas of the profile store in "
                "time, and may be lost or not; send it again"
            )
        return replies

    async def _again(self, error: RedisError | OSError, send: Callable[[], Awaitable[T]]) -> T:
        """Sends once more if the server was demoted; else raises the error as StoreUnavailable."""
        if not demoted(error):
            raise unavailable(error) from error
        try:
            await self._leave(error)
            return await send()
        except (RedisError, OSError) as second:
            raise unavailable(second) from second

    async def _leave(self, error: RedisError | OSError) -> None:
        """Empties the pool; connections in use are closed when they are given back."""
        if isinstance(error, MovedError) and isinstance(self.directory, ClusterMap):
            self.directory.hint((error.host, error.port))
        now = time.monotonic()
        if now - self._left_at < _LEAVE_PAUSE_S:
            return
        self._left_at = now
        LOGGER.warning("leaving a Redis server", extra={"data": {"why": code_of(error)}})
        await self._pool.update_active_connections_for_reconnect()  # type: ignore[no-untyped-call]
        await self._pool.disconnect(inuse_connections=False)


def _cancellations() -> int:
    """Returns how often the current task was asked to end."""
    task = asyncio.current_task()
    return task.cancelling() if task else 0


def _raise_cancellation(before: int) -> None:
    """Raises the cancellation that came since `before`, if redis-py has swallowed it.

    redis-py sends with `asyncio.wait_for`, which before Python 3.12 returns in place of being
    cancelled when both happen in one turn of the loop. A deadline that is lost so never comes again.
    """
    if _cancellations() > before:
        raise asyncio.CancelledError


def open_redis_client(settings: Settings) -> RedisClient:
    """Returns a client of the Redis that the settings name; connects on first use.

    Raises:
        ValueError: As `RedisClient` does.
    """

    def shown(secret: SecretStr | None) -> str | None:
        return secret.get_secret_value() if secret else None

    return RedisClient(
        url=settings.redis_url.get_secret_value(),
        password=shown(settings.redis_password),
        sentinel_password=shown(settings.redis_sentinel_password),
        timeout_s=settings.redis_timeout_s,
        connections=settings.redis_connections,
        tenant=settings.tenant,
        replicas=settings.redis_wait_replicas,
        replicas_s=settings.redis_wait_s,
    )
