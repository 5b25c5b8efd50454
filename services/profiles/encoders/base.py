"""What the service asks of a sentence encoder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from services.profiles.domain.profile import Component


class Encoder(Protocol):
    """Turns texts into vectors. All methods may raise EncoderUnavailable."""

    @property
    def component(self) -> Component:
        """Name and content hash: vectors of different components must not be compared."""
        ...

    async def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Returns unit-length vectors, shape (len(texts), dimension), in order.

        Never blocks the event loop. Calls that arrive while another batch is computed are
        computed together.
        """
        ...

    async def check(self) -> None:
        """Raises unless the encoder works."""
        ...

    async def aclose(self) -> None:
        """Releases the resources of the encoder."""
        ...
