"""A generator behind a circuit breaker."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from services.profiles.errors import ModelRefused, ModelUnavailable

if TYPE_CHECKING:
    from services.profiles.breaker import Breaker
    from services.profiles.generators.base import Generation, GenerationRequest, Generator

_PROBE_S = 2.0


class GuardedGenerator:
    """Asks another generator while its circuit is closed."""

    def __init__(self, generator: Generator, breaker: Breaker) -> None:
        self._generator = generator
        self._breaker = breaker

    async def generate(self, request: GenerationRequest) -> Generation:
        """Answers one prompt, or raises ModelUnavailable at once."""
        return await self._breaker.call(
            lambda: self._generator.generate(request), probe=self._probe
        )

    async def context_window(self) -> int:
        """Returns what the generator knows. Only a failure says something of the model server."""
        self._breaker.refuse()
        try:
            return await self._generator.context_window()
        except ModelRefused:
            raise
        except ModelUnavailable as error:
            await self._breaker.failed(error)
            raise

    async def check(self) -> None:
        """Raises unless the generator is ready, and its circuit is closed or about to be tried."""
        await self._generator.check()
        self._breaker.refuse()

    async def aclose(self) -> None:
        """Closes the generator."""
        await self._generator.aclose()

    async def _probe(self) -> None:
        try:
            async with asyncio.timeout(_PROBE_S):
                await self._generator.check()
        except TimeoutError as error:
            raise ModelUnavailable(
                f"the model server did not answer within {_PROBE_S:g} s"
            ) from error
