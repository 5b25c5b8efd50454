"""What a batch and a read of many vectors come back as, also as tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from reclm_client.errors import ReclmApiError
    from reclm_client.schemas.profile import Profile
    from reclm_client.schemas.score import Score


@dataclass(frozen=True, slots=True)
class Erasures:
    """All users who were erased: the deny list of a service.

    Attributes:
        as_of: Every erasure until then is in it.
        erased: User id -> when the user was last erased.
    """

    as_of: datetime
    erased: Mapping[str, datetime]


@dataclass(frozen=True, slots=True)
class ItemRow:
    """The answer to one item of a batch; `error` is None where it is in the catalogue now.

    Attributes:
        row: The row's number in the whole batch, from 0.
        id: The row's id as the service read it; None where it could not.
    """

    row: int
    id: str | None
    status_code: int
    error: ReclmApiError | None

    def records(self) -> list[dict[str, Any]]:
        """Returns one line: `row`, `id`, `status_code` and the error's code, None for none."""
        return [_record(self.row, "id", self.id, self.status_code, self.error)]


@dataclass(frozen=True, slots=True)
class ProfileRow:
    """The answer to one row of a batch: a profile, or the error that this row alone met.

    Attributes:
        row: The row's number in the whole batch, from 0.
        id: The row's id as the service read it; None where it could not.
    """

    row: int
    id: str | None
    status_code: int
    profile: Profile | None
    error: ReclmApiError | None

    def records(self) -> list[dict[str, Any]]:
        """Returns one line; what is of the profile is None where there is none."""
        names = ("status", "identities", "interests", "text", "created_at", "embedding")
        members = {name: getattr(self.profile, name, None) for name in names}
        return [{**_record(self.row, "id", self.id, self.status_code, self.error), **members}]


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """The answer to one row of a batch: a ranking, or the error that this row alone met.

    Attributes:
        row: The row's number in the whole batch, from 0.
    """

    row: int
    user_id: str | None
    status_code: int
    score: Score | None
    error: ReclmApiError | None

    def records(self) -> list[dict[str, Any]]:
        """Returns a line for each item, `rank` from 1 on; without any, one without an item."""
        record = _record(self.row, "user_id", self.user_id, self.status_code, self.error)
        items = () if self.score is None else self.score.items
        return [
            {**record, "rank": rank, "item_id": item.item_id, "score": item.score}
            for rank, item in enumerate(items, start=1)
        ] or [{**record, "rank": None, "item_id": None, "score": None}]


Row = ItemRow | ProfileRow | ScoreRow


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Embeddings:
    """Vectors of many profiles.

    Attributes:
        ids: As asked for, n of them.
        vectors: Shape (n, dimension), float32; zeros where there is no profile. The dimension is
            0 where none is found.
        found: Shape (n,): which ids have a profile.
        versions: Hex digests of the versions that made the vectors, None where there is none.
            Vectors of different versions must not be compared.
    """

    ids: tuple[str, ...]
    vectors: NDArray[np.float32]
    found: NDArray[np.bool_]
    versions: tuple[str | None, ...]

    def __repr__(self) -> str:
        n, dimension = self.vectors.shape
        return f"<embeddings of {n} ids, {self.found.sum()} found, {dimension} numbers each>"

    def to_pandas(self) -> pd.DataFrame:
        """Returns a table with a line for each id: the vector's numbers, NaN where there is none.

        Its index is the ids, and its columns are 0 to dimension - 1. Needs pandas.
        """
        import numpy as np

        pd = _pandas()
        numbers = np.where(self.found[:, None], self.vectors, np.float32("nan"))
        return pd.DataFrame(numbers, index=pd.Index(self.ids, name="id"))


def to_pandas(rows: Sequence[Row]) -> pd.DataFrame:
    """Returns the answers to a batch as a table. Needs pandas."""
    return _pandas().DataFrame([record for row in rows for record in row.records()])


def _pandas() -> Any:  # noqa: ANN401 - a module
    try:
        import pandas as pd
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "a table needs pandas: pip install 'reclm-client[pandas]'", name="pandas"
        ) from error
    return pd


def _record(
    row: int, name: str, id_: str | None, status_code: int, error: ReclmApiError | None
) -> dict[str, Any]:
    code = None if error is None else error.code
    return {"row": row, name: id_, "status_code": status_code, "error": code}
