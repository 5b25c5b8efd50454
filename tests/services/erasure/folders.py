"""A folder of each kind with given users and items, and what it says about each of them."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from recommenders.data.dataset import Dataset, DatasetInfo
from recommenders.features.snapshot import Snapshot, SnapshotInfo
from recommenders.features.table import ProfileTable
from services.backfill.job import BAD_ROWS, FAILURES, REFUSED_ITEMS
from services.backfill.makers import RowFailed
from services.backfill.manifest import OutputManifest
from services.backfill.parts import WORK, Part, describe
from services.common.tabular.blocks import BadRow
from services.profiles.scoring import bundle as bundles
from tests.services.backfill.made import VERSION, made, row
from tests.support.bundles import Made, seen
from training.data.folder import write_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    Ids = Sequence[str]
    Rows = dict[str, Any]


def backfill(folder: Path, users: Ids, items: Ids, *, complete: bool = True) -> None:
    """Two partitions; every third user has failed, and every fourth has a bad row too."""
    folder.mkdir()
    failed = list(users[::3])
    lines = []
    for number in (0, 1):
        part = Part(folder, number, dtype="float16")
        for id_ in users[number::2]:
            history = tuple(items[:3])
            if id_ in failed:
                part.fail(row(id_, history), RowFailed("unknown-items", f"{items[0]} is unknown"))
            else:
                part.add(row(id_, history), made(id_))
        part.finish()
        lines.append((folder / WORK / "failures" / f"{number:05}.ndjson").read_bytes())
    (folder / FAILURES).write_bytes(b"".join(lines))
    bad = [
        BadRow(id_, f"x.csv, line {place}", f"{id_!r} has no item", f"{id_},")
        for place, id_ in enumerate(users[::4])
    ]
    text = "".join(json.dumps(asdict(one)) + "\n" for one in bad)
    (folder / BAD_ROWS).write_text(text)
    refused = [{"item_id": id_, "title": id_, "error": {}} for id_ in items[::2]]
    (folder / REFUSED_ITEMS).write_text("".join(json.dumps(one) + "\n" for one in refused))
    parts = [describe(path) for path in sorted(folder.glob("part-*.parquet"))]
    if complete:
        for path in sorted((folder / WORK).rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        (folder / WORK).rmdir()
    else:
        journalled = Part(folder, 0, dtype="float16")
        for id_ in users[::2]:
            journalled.add(row(id_, ("z",)), made(id_))
        journalled.write(journalled.take())
        (folder / WORK / "grouped").mkdir()
        (folder / WORK / "grouped" / "partition-0000.arrows").write_text(" ".join(users))
        (folder / WORK / "lock").touch()
        (folder / WORK / "job.json").write_text("{}")
    OutputManifest(
        kind="user",
        dtype="float16",
        partitions=2,
        version={"digest": VERSION},
        complete=complete,
        parts=tuple(part for part in parts if part is not None),
        outcomes={"generated": 1},
        started_at="2026-11-30T00:00:00Z",
        finished_at=None,
    ).write(folder)


def backfill_rows(folder: Path) -> Rows:
    """Each user's profile, failure and bad row; each refused item."""
    found: Rows = {}
    for path in folder.rglob("*.parquet"):
        for one in pq.read_table(path, partitioning=None).to_pylist():
            found[f"{path.name} {one['id']}"] = one
    for path in folder.rglob("*.ndjson"):
        for line in path.read_bytes().splitlines():
            one = json.loads(line)
            key = one.get("id", one.get("item_id"))
            found[f"{path.relative_to(folder)} {key}"] = line
    manifest = OutputManifest.read(folder)
    assert manifest is not None
    for part in manifest.parts:
        assert describe(folder / part.file) == part
    return found


def _table(ids: Ids) -> ProfileTable:
    vectors = np.random.default_rng(len(ids)).standard_normal((len(ids), 4)).astype(np.float32)
    return ProfileTable(tuple(ids), tuple(f"text of {id_}" for id_ in ids), vectors)


def snapshot(folder: Path, users: Ids, items: Ids) -> None:
    """Profiles of all users and items."""
    info = SnapshotInfo(dataset="d", split="abc", source="m@1", encoder="e@1", known=2)
    Snapshot(info, _table(users), _table(items)).write(folder)


def snapshot_rows(folder: Path) -> Rows:
    """Each profile with its vector, as the snapshot's own reader has it."""
    whole = Snapshot.read(folder)
    found: Rows = {}
    for table in (whole.users, whole.items):
        assert table is not None
        for id_, text, vector in zip(table.ids, table.texts, table.vectors.tolist(), strict=True):
            found[id_] = (text, vector)
    return found


def unfinished(folder: Path, users: Ids, items: Ids) -> None:
    """The journals of an interrupted snapshot."""
    folder.mkdir()
    request = {"dataset": "d", "split": "abc", "version": "m@1", "known": None}
    (folder / "request.json").write_text(json.dumps(request))
    for name, ids in (("users", users), ("items", items)):
        lines = [json.dumps({"id": id_, "text": f"of {id_}", "vector": ""}) for id_ in ids]
        (folder / f"{name}.ndjson").write_text("".join(f"{line}\n" for line in lines))


def unfinished_rows(folder: Path) -> Rows:
    """Each line of the journals."""
    lines = [line for path in folder.glob("*.ndjson") for line in path.read_bytes().splitlines()]
    return {json.loads(line)["id"]: line for line in lines}


def bundle(folder: Path, users: Ids, items: Ids, *, kind: str = "factors") -> None:
    """A bundle with random arrays; every item has all others as neighbours."""
    random = np.random.default_rng(len(users))
    count = len(items)

    def numbers(*shape: int) -> Any:
        return random.standard_normal(shape).astype(np.float32)

    others = [[other for other in range(count) if other != item] for item in range(count)]
    indices = np.array(others, np.int32).reshape(count, max(0, count - 1))
    made_ = Made(
        item_ids=list(items),
        user_ids=list(users),
        arrays={
            "item_bias": numbers(count),
            **seen([sorted({place % count, 0}) for place in range(len(users))]),
            "neighbours_indices": indices,
            "neighbours_scores": numbers(*indices.shape),
        },
        kind=kind,
    )
    if kind == "factors":
        made_.arrays |= {
            "item_vectors": numbers(count, 3),
            "history_vectors": numbers(count, 3),
            "user_vectors": numbers(len(users), 3),
        }
        made_.history_weight = np.eye(3, dtype=np.float32)
    else:
        made_.arrays |= {"item_weights": numbers(count, count), "item_prior": numbers(count)}
    made_.write(folder.parent, folder.name)


def bundle_rows(folder: Path) -> Rows:
    """All that the service's own reader has of each user and item, other items by their ids."""
    whole = bundles.load(folder)
    items, arrays = whole.item_ids, whole.arrays
    near, cosines = (np.load(folder / f"neighbours_{name}.npy") for name in ("indices", "scores"))
    found: Rows = {}
    for id_, place in whole.user_rows.items():
        vector = arrays["user_vectors"][place].tolist() if "user_vectors" in arrays else None
        found[id_] = ([items[item] for item in whole.seen(place)], vector)
    for place, id_ in enumerate(items):
        weights = {}
        if "item_weights" in arrays:
            weights = dict(zip(items, arrays["item_weights"][place].tolist(), strict=True))
        neighbours = dict(
            zip([items[row] for row in near[place]], cosines[place].tolist(), strict=True)
        )
        own = [
            arrays[name][place].tolist()
            for name in ("item_vectors", "history_vectors", "item_prior")
            if name in arrays
        ]
        found[id_] = (whole.item_bias[place].item(), own, weights, neighbours)
    return found


def dataset(folder: Path, users: Ids, items: Ids) -> None:
    """Every user has chosen two items."""
    chosen = [(user, items[place % len(items)]) for place, user in enumerate(users * 2)]
    interactions = pa.table(
        {
            "user_id": pa.array([user for user, _ in chosen], pa.string()),
            "item_id": pa.array([item for _, item in chosen], pa.string()),
            "timestamp": pa.array(range(len(chosen)), pa.int64()),
            "weight": pa.array([1.0] * len(chosen), pa.float32()),
        }
    )
    texts = {name: [f"{name} of {id_}" for id_ in items] for name in ("title", "description")}
    catalogue = pa.table({"item_id": items, **texts, "category": [""] * len(items)})
    info = DatasetInfo(name="d", source="s", licence="l")
    Dataset(info, catalogue, interactions).write(folder)


def dataset_rows(folder: Path) -> Rows:
    """Each interaction and each item."""
    whole = Dataset.read(folder)
    found: Rows = {
        f"{one['user_id']} {one['item_id']} {one['timestamp']}": one
        for one in whole.interactions.to_pylist()
    }
    return found | {one["item_id"]: one for one in whole.items.to_pylist()}


def training_data(folder: Path, users: Ids, items: Ids) -> None:
    """A row for each user and item, in two files."""

    def rows(ids: Ids, kind: str) -> list[dict[str, Any]]:
        return [{"id": id_, "kind": kind, "prompt": f"é {id_}"} for id_ in ids]

    files = {"train.jsonl": rows(users, "user"), "profiles.jsonl": rows(items, "item")}
    write_folder(folder, files, builder="distillation", about={"options": {"seed": 1}})


def training_rows(folder: Path) -> Rows:
    """Each line, once the manifest has been compared with what the builder would write."""
    files = {
        name: [json.loads(line) for line in (folder / name).read_bytes().splitlines()]
        for name in ("train.jsonl", "profiles.jsonl")
    }
    again = folder.with_name("again")
    write_folder(again, files, builder="distillation", about={"options": {"seed": 1}}, replace=True)
    for name in (*files, "manifest.json"):
        assert (again / name).read_bytes() == (folder / name).read_bytes()
    lines = [line for name in files for line in (folder / name).read_bytes().splitlines()]
    return {json.loads(line)["id"]: line for line in lines}


def results(folder: Path, users: Ids, items: Ids) -> None:
    """Two finished runs of a benchmark and one of a study."""
    random = np.random.default_rng(0)
    for run in ("one", "two"):
        rows = {"scenario": pa.array(["warm"] * len(users)).dictionary_encode(), "user_id": users}
        table = pa.table({**rows, "recall@20": random.random(len(users))})
        (folder / "runs" / run).mkdir(parents=True)
        pq.write_table(table, folder / "runs" / run / "users.parquet", compression="zstd")
        (folder / "runs" / run / "result.json").write_text("{}")
        ranks = {"user_id": pa.array(users).dictionary_encode(), "rank": [3] * len(users)}
        pq.write_table(pa.table(ranks), folder / "runs" / run / "ranks.parquet")
    (folder / "runs" / "three").mkdir()
    rows = {"part": pa.array(["test"] * len(users)).dictionary_encode(), "user_id": users}
    pq.write_table(pa.table(rows), folder / "runs" / "three" / "new-users.parquet")
    (folder / "report.md").write_text("means")


def results_rows(folder: Path) -> Rows:
    """Each row of each run, and the other files."""
    found: Rows = {
        f"{path.relative_to(folder)} {one['user_id']}": (one, table.schema)
        for path in folder.rglob("*.parquet")
        for table in [pq.read_table(path, partitioning=None)]
        for one in table.to_pylist()
    }
    others = [path for path in folder.rglob("*") if path.suffix in {".json", ".md"}]
    return found | {str(path.relative_to(folder)): path.read_bytes() for path in others}


MADE: dict[str, tuple[Callable[..., None], Callable[[Path], Rows]]] = {
    "backfill": (backfill, backfill_rows),
    "snapshot": (snapshot, snapshot_rows),
    "unfinished snapshot": (unfinished, unfinished_rows),
    "bundle": (bundle, bundle_rows),
    "dataset": (dataset, dataset_rows),
    "training data": (training_data, training_rows),
    "results": (results, results_rows),
}
"""By kind: what makes a folder of some users and items, and what reads it."""


def words(folder: Path) -> str:
    """Returns all that a folder's files hold: their bytes, and the values in Parquet files."""
    parts = []
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            parts.append(path.read_bytes().decode("latin-1"))
            if path.suffix == ".parquet":
                parts.append(repr(pq.read_table(path, partitioning=None).to_pylist()))
    return "\n".join(parts)
