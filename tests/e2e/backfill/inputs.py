"""What the jobs read, and whom the service knows before them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx
import pyarrow as pa
import pyarrow.parquet as pq

from services.profiles.domain.profile import Profile, ProfileKey, ProfileText
from services.profiles.domain.requests import ProfileRequest
from services.profiles.stores import codec
from services.profiles.stores.redis import keys
from tests.e2e.backfill.jobs import HISTORY

if TYPE_CHECKING:
    from pathlib import Path

    from recommenders.data.dataset import Dataset
    from tests.e2e.backfill.jobs import Stack

USERS = 2_000
NEW = 150
"""Users of whom the service has no profile yet: each takes the model a quarter of a second."""
ITEMS = [
    {"item_id": f"few {name}", "title": f"{name} (1995)", "category": category}
    for name, category in (
        ("Heat", "Action, Crime, Thriller"),
        ("Babe", "Children's, Comedy, Drama"),
        ("Casino", "Drama"),
        ("Toy Story", "Animation, Children's, Comedy"),
    )
]


@dataclass
class Filled:
    """2,000 users, and the output of a job that was killed ten times on its way to them."""

    out: Path
    interactions: Path
    ids: list[str]


@dataclass
class Few:
    """A handful of users, each with two films."""

    folder: Path
    interactions: Path
    items: Path
    ids: list[str]

    def write(self, rows: list[tuple[Any, Any]], items: list[dict[str, Any]]) -> None:
        self.interactions.write_text(
            "".join(json.dumps({"user_id": user, "item_id": item}) + "\n" for user, item in rows)
        )
        self.items.write_text("".join(json.dumps(item) + "\n" for item in items))

    def arguments(self) -> list[str | Path]:
        return ["--interactions", self.interactions, "--items", self.items]


def choices(ids: list[str]) -> list[tuple[Any, Any]]:
    return [
        (id_, ITEMS[(number + step) % len(ITEMS)]["item_id"])
        for number, id_ in enumerate(ids)
        for step in range(2)
    ]


def write_interactions(dataset: Dataset, path: Path, users: int) -> list[str]:
    """Writes what so many users chose; when MovieLens has no more, they come again as others."""
    table = dataset.interactions.select(["user_id", "item_id", "timestamp"])
    real = table["user_id"].unique().to_pylist()
    ids = [f"{real[n % len(real)]}/{n // len(real)}" for n in range(users)]
    rounds = []
    for again in range(-(-users // len(real))):
        names = pa.array([f"{id_}/{again}" for id_ in table["user_id"].to_pylist()])
        rounds.append(table.set_column(0, "user_id", names))
    everything = pa.concat_tables(rounds)
    wanted = pa.compute.is_in(everything["user_id"], value_set=pa.array(ids))
    pq.write_table(everything.filter(wanted), path)
    return ids


def make_known(stack: Stack, dataset: Dataset, ids: list[str]) -> None:
    """Gives users the profile that the service would have for them had it been asked before."""
    source = {"id": "source", "history": [{"title": "Heat (1995)"}]}
    httpx.post(f"{stack.service.url}/profiles/user", json=source, timeout=60).raise_for_status()
    redis = stack.redis.client()
    stored = codec.look(redis.get(keys.profile(ProfileKey("default", "user", "source"))))
    assert stored is not None
    histories = dataset.histories()
    with redis.pipeline() as pipeline:
        for id_ in ids:
            key = ProfileKey("default", "user", id_)
            history = tuple(histories[id_.split("/")[0]][-HISTORY:])
            profile = Profile(
                id=id_,
                words=ProfileText("user", (f"reader {id_}", "b", "c"), ("d", "e", "f")),
                vector=stored.vector,
                version_digest=stored.version_digest,
                input_hash=stored.input_hash,
                request_digest=ProfileRequest(key, history).digest(),
                created_ms=stored.created_ms,
            )
            pipeline.set(keys.profile(key), codec.encode(profile))
        pipeline.execute()
