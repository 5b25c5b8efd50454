"""An encoder behind a circuit breaker."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from services.profiles.breaker import Breaker
    from services.profiles.domain.profile import Component
    from services.profiles.encoders.base import Encoder


class GuardedEncoder:
    """Asks another encoder while its circuit is closed."""

    def __init__(self, encoder: Encoder, breaker: Breaker) -> None:
        self._encoder = encoder
        self._breaker = breaker

    @property
    def component(self) -> Component:
        """The encoder's."""
        return self._encoder.component

    async def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Returns the encoder's vectors, or raises EncoderUnavailable at once."""
        return await self._breaker.call(lambda: self._encoder.encode(texts), probe=_nothing)

    async def check(self) -> None:
        """Raises unless the encoder works, and its circuit is closed or about to be tried."""
        await self._encoder.check()
        self._breaker.refuse()

    async def aclose(self) -> None:
        """Closes the encoder."""
        await self._encoder.aclose()


async def _nothing() -> None:
    """The texts themselves are a quick probe: an encoder answers within its time limit."""
