"""One connection pool to one Redis server, with failures as StoreUnavailable."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from services.profiles.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


class RedisClient:
    """Sends commands. Every failure is raised as StoreUnavailable.

    Replies are typed Any, since the types that redis-py declares are too wide to be useful.

    Args:
        url: redis://, rediss:// or unix:// with credentials and database.
        timeout_s: Limit for connecting, and for each reply.
        connections: Most connections of this process.
        password: For a URL without a password.
    """

    def __init__(
        self, *, url: str, timeout_s: float, connections: int, password: str | None = None
    ) -> None:
        pool = BlockingConnectionPool.from_url(
            url,
            password=password,
            max_connections=connections,
            timeout=timeout_s,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            # A pooled connection may be closed since the server restarted: try once more.
            retry=Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,)),
        )
        self._redis = Redis.from_pool(pool)

    async def call(self, *command: bytes | str | int) -> Any:  # noqa: ANN401 - see the class
        """Sends one command and returns its reply."""
        with _unavailable():
            # redis-py does not type this method.
            return await self._redis.execute_command(*command)  # type: ignore[no-untyped-call]

    async def run(self, script: str, keys: list[bytes], *args: bytes | int) -> Any:  # noqa: ANN401
        """Runs a Lua script, by its hash if the server has it."""
        with _unavailable():
            return await self._redis.register_script(script)(keys=keys, args=list(args))

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[Any]:
        """Collects commands that `execute` sends as one MULTI."""
        with _unavailable():
            async with self._redis.pipeline(transaction=True) as pipeline:
                yield pipeline

    async def aclose(self) -> None:
        """Closes all connections."""
        await self._redis.aclose()
        await self._redis.connection_pool.disconnect()


@contextlib.contextmanager
def _unavailable() -> Iterator[None]:
    """Raises errors of redis-py as StoreUnavailable, without the server's address."""
    try:
        yield
    except (RedisError, OSError) as error:
        raise StoreUnavailable(
            f"the profile store does not answer ({type(error).__name__}); try again shortly"
        ) from error
