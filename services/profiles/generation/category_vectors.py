"""Vectors of degraded profiles, put together from vectors that are there.

A degraded profile says no more than that somebody chooses some categories. Its vector is the mean
of the vectors of its categories, scaled to unit length, where the vector of a category is that of
the degraded profile of this category alone. A category is encoded once for all profiles; so an
answer without the model costs no run of the encoder either, however many are asked for at once.
"""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from services.profiles.domain.profile import PHRASES
from services.profiles.errors import EncoderUnavailable
from services.profiles.generation.prompt_builder import degraded_text
from services.profiles.telemetry import LOGGER

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from services.profiles.domain.profile import Kind
    from services.profiles.encoders.base import Encoder

    Name = tuple[Kind, str]

_KEPT = 4_096
"""Categories whose vectors are kept: those that were used last."""

_AT_A_TIME = 64
"""Categories that are encoded or wait for it; further ones are left out of a vector."""

_NONE = ""
"""Stands for no category at all."""


class CategoryVectors:
    """The vectors of categories, encoded when they are first needed."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._known: OrderedDict[Name, NDArray[np.float32]] = OrderedDict()
        self._pending: dict[Name, asyncio.Task[None]] = {}

    async def vector(self, kind: Kind, categories: Sequence[str]) -> NDArray[np.float32]:
        """Returns the vector of a degraded profile: shape (dimension,), unit length.

        Categories whose vector is not there yet are left out and encoded behind the answer, unless
        none of them is there.

        Raises:
            EncoderUnavailable: None is there, and the encoder fails.
        """
        names = [(kind, name) for name in categories[: PHRASES[kind]]] or [(kind, _NONE)]
        rows = self._rows(names)
        if not rows:
            tasks = {self._pending[name] for name in names if name in self._pending}
            if tasks:
                # Shielded from a caller that goes away: others wait for them too.
                await asyncio.wait(tasks)
            rows = self._rows(names) or self._rows([(kind, _NONE)])
        if not rows:
            raise EncoderUnavailable("there is no vector yet for a profile without the model")
        total = rows[0].copy()
        for row in rows[1:]:
            total += row
        return np.asarray(total / math.sqrt(float(total @ total)), np.float32)

    def _rows(self, names: Iterable[Name]) -> list[NDArray[np.float32]]:
        """Returns the vectors that are there, and begins to encode the others."""
        rows = []
        for name in names:
            row = self._known.get(name)
            if row is not None:
                self._known.move_to_end(name)
                rows.append(row)
            elif name not in self._pending and len(self._pending) < _AT_A_TIME:
                task = asyncio.create_task(self._encode(name))
                self._pending[name] = task
                task.add_done_callback(partial(self._done, name))
        return rows

    def _done(self, name: Name, _: asyncio.Task[None]) -> None:
        del self._pending[name]

    async def _encode(self, name: Name) -> None:
        kind, category = name
        text = degraded_text(kind, (category,) if category else ()).text
        try:
            (row,) = await self._encoder.encode([text])
        except EncoderUnavailable as error:
            LOGGER.warning("a category has no vector", extra={"data": {"why": error.detail}})
            return
        self._known[name] = row
        if len(self._known) > _KEPT:
            self._known.popitem(last=False)
