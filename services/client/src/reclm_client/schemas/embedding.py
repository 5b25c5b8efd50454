"""Embeddings of many profiles, in JSON; as Arrow they are a table with the same columns."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import FailFast, Field, with_config

from reclm_client.schemas.fields import REQUEST, Id, read_as


@with_config(REQUEST)
@dataclass(frozen=True, slots=True)
class EmbeddingsRequest:
    """A request for the embeddings of profiles that exist."""

    ids: Annotated[
        Sequence[str],
        read_as(Annotated[list[Id], FailFast(), Field(min_length=1, max_length=10_000)]),
    ]
    dtype: Literal["float32", "float16"] = "float32"


@dataclass(frozen=True, slots=True)
class EmbeddingRow:
    """One embedding; both members null where there is no profile."""

    id: str
    vector: list[float] | None
    version: str | None


@dataclass(frozen=True, slots=True)
class EmbeddingRows:
    """Embeddings in the order of the ids asked for; `dimension` is 0 when none was found."""

    dimension: int
    rows: list[EmbeddingRow]
