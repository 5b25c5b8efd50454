"""What the batch job asks of whatever makes profiles: the service over HTTP, or its parts here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Self

    import numpy as np
    from numpy.typing import NDArray

    from reclm_client import Item
    from services.backfill.rows import ProfileRow


@dataclass(frozen=True, slots=True)
class Made:
    """A profile, as it goes into the output.

    Attributes:
        vector: Shape (dimension,), float16, unit length.
        status: generated or cached.
        version: Hex digest of what it was made with.
        input_hash: Hex digest of what the model read.
    """

    id: str
    text: str
    vector: NDArray[np.float16]
    status: str
    version: str
    input_hash: str
    created_ms: int


@dataclass(frozen=True, slots=True)
class Version:
    """What profiles are made with now: the digest that each carries, and what it stands for."""

    digest: str
    parts: Mapping[str, object]


class RowFailed(Exception):
    """One row cannot be served, now or later, as it stands.

    Attributes:
        code: The service's code for it, such as unknown-items.
        unknown: Items that the catalogue lacks, as far as the service named them.
    """

    def __init__(self, code: str, detail: str, unknown: Sequence[str] = ()) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.unknown = tuple(unknown)


class PushedBack(Exception):
    """Nothing is wrong with the row: whoever makes profiles is overloaded, or away for now.

    Attributes:
        retry_after_s: How long it asked to be left alone.
    """

    def __init__(self, why: str, retry_after_s: float = 0.0) -> None:
        super().__init__(why)
        self.why = why
        self.retry_after_s = retry_after_s


class Maker(Protocol):
    """Makes profiles. Every method raises PushedBack for trouble that passes by itself."""

    async def __aenter__(self) -> Self:
        """Connects, or loads what it needs."""
        ...

    async def __aexit__(self, *exc_info: object) -> None:
        """Frees what it holds."""
        ...

    async def version(self) -> Version:
        """Returns what profiles are made with now."""
        ...

    async def make(self, row: ProfileRow, *, max_age_s: float | None) -> Made:
        """Makes one profile, or finds it. Many calls may run at once.

        Args:
            row: Whose, and from what.
            max_age_s: Take no older profile from the cache.

        Raises:
            RowFailed: It cannot be made from this row.
        """
        ...

    @property
    def online_wait_s(self) -> float:
        """What those who are not in the background have waited of late; 0 when there are none."""
        ...

    async def put_items(self, items: Sequence[Item]) -> list[tuple[Item, RowFailed]]:
        """Adds items to the catalogue; returns those that were refused, and why."""
        ...

    async def erased(self) -> frozenset[str] | None:
        """Returns the users who were erased; None where that is not told."""
        ...

    async def tokens(self) -> tuple[int, int]:
        """Returns the prompt and completion tokens of the model so far, by its own count."""
        ...
