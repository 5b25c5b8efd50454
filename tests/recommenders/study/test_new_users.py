"""A study on a small dataset: equal relevant items at each number of clicks, tables, resuming."""

from __future__ import annotations

import dataclasses
import itertools
import shutil
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from recommenders.benchmark.errors import BenchmarkError
from recommenders.benchmark.prepared import BenchmarkPaths, prepare
from recommenders.commands import study as study_command
from recommenders.data.indexed import Indexed
from recommenders.data.split import COLD_USERS
from recommenders.data.splits.pairs import Pairs
from recommenders.features.snapshot import Snapshot, SnapshotInfo
from recommenders.features.table import ProfileTable
from recommenders.study.new_users import new_users, written_profiles
from recommenders.study.plan import Study, read_study
from recommenders.study.report import Findings, markdown
from recommenders.study.report import Pairs as RelevantPairs
from recommenders.study.run import METRICS
from tests.recommenders.data.tiny import dataset

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from recommenders.data.dataset import Dataset

USERS, ITEMS = 60, 24
ABOUT = {"command": "c", "where": "w", "profiles": "p"}
STUDY = """
name: two tastes
dataset: tiny
seeds: [1, 2]
share: 0.4
clicks: [1, 3]
text: [title]
profiles: profiles
training: {max_steps: 24, eval_steps: 4, patience: 3, batch_size: 128, learning_rate: 0.05}
ways:
  - {name: popularity, model: popularity}
  - {name: fold-in, model: lightgcn, options: &both {variant: augmented, embedding_size: 8,
     items: both, user_dropout: 0.5, fold_in: credible}}
  - {name: profile, model: lightgcn, options: *both}
  - {name: both, model: lightgcn, options: *both}
"""


def two_tastes() -> Dataset:
    """Each half of the users has one half of the items, in random order."""
    random = np.random.default_rng(0)
    choices = [
        (f"u{user}", f"i{item}", int(random.integers(1_000)))
        for user, item in itertools.product(range(USERS), range(ITEMS))
        if user % 2 == item % 2 and random.random() < 0.8
    ]
    names = [f"i{item}" for item in range(ITEMS)]
    return dataset(choices, items=names, titles=[f"number {item}" for item in range(ITEMS)])


def _histories() -> dict[str, set[str]]:
    pairs = Pairs.of(Indexed.of(two_tastes()))
    ids = Indexed.of(two_tastes()).user_ids
    return {ids[user]: set(pairs.items[pairs.users == user]) for user in range(len(ids))}


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BenchmarkPaths:
    monkeypatch.setattr("recommenders.benchmark.prepared.encoder_name", lambda _: "encoder@1")
    monkeypatch.setattr(
        "recommenders.benchmark.prepared.encode",
        lambda texts, *_, **__: np.ones((len(texts), 4), np.float32),
    )
    data = tmp_path / "data"
    two_tastes().write(data / "tiny")
    names = tuple(f"i{item}" for item in range(ITEMS))
    vectors = np.eye(4, dtype=np.float32)[np.arange(ITEMS) % 2]
    info = SnapshotInfo(dataset="tiny", split=None, source="by hand", encoder="encoder@1")
    Snapshot(info, None, ProfileTable(names, names, vectors)).write(data / "profiles")
    return BenchmarkPaths(datasets=data, snapshots=data, encoder=tmp_path, out=tmp_path / "out")


def study(tmp_path: Path, text: str = STUDY) -> Study:
    path = tmp_path / "study.yaml"
    path.write_text(text)
    return read_study(path)


def test_new_users_have_the_same_relevant_items_at_each_number_of_clicks(
    paths: BenchmarkPaths, tmp_path: Path
) -> None:
    asked = study(tmp_path)
    prepared = prepare(asked.experiment, 1, paths)
    for here in new_users(asked, 1, prepared, paths):
        pairs = Pairs.of(Indexed.of(two_tastes()))
        assert len(here.users)
        assert not np.diff(prepared.split.train.indptr)[here.users].any()
        for clicks in (1, 3):
            for place, user in enumerate(here.users):
                in_order = pairs.items[pairs.users == user]
                row = here.known[clicks][[place]].indices
                assert sorted(row) == sorted(in_order[:clicks])
                assert sorted(here.part.relevant[[user]].indices) == sorted(in_order[3:])
        # All items of a user have the same vector.
        assert here.profiles[1] == pytest.approx(
            np.eye(4)[[int(prepared.user_ids[row][1:]) % 2 for row in here.users]]
        )


def test_a_study_is_run_once_and_reported(
    paths: BenchmarkPaths, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(STUDY)
    document = study_command.cold_users(path, paths, command="the command")
    assert "seed 2: fold-in, profile, both done" in capfd.readouterr().err
    for part in ("`the command`", "| way | 1 click | 3 clicks |", "`both` against the other way"):
        assert part in document
    table = pq.read_table(paths.out / "cold-users.parquet")
    assert table.num_rows == 2 * 4 * 2 * 2 * 12  # seeds, ways, parts, clicks, users of a half
    wanted = {name: len(rows) - 3 for name, rows in _histories().items()}
    found = zip(table["user_id"].to_pylist(), table["wanted"].to_pylist(), strict=True)
    assert all(wanted[str(name)] == count for name, count in found)
    means = {
        (row["label"], row["clicks"]): row["recall@20_mean"]
        for row in table.filter(pc.field("part") == "test")
        .group_by(["label", "clicks"])
        .aggregate([("recall@20", "mean")])
        .to_pylist()
    }
    assert means["popularity", 1] == means["popularity", 3]
    assert (paths.out / "cold-users.png").read_bytes().startswith(b"\x89PNG")

    assert study_command.cold_users(path, paths, command="the command") == document
    assert "done" not in capfd.readouterr().err


def test_results_are_shown_by_the_number_of_relevant_items(
    tmp_path: Path,
) -> None:
    asked = study(tmp_path)
    wanted = np.array([8, 1, 7, 2, 6, 3, 5, 4])
    keys = list(
        itertools.product(
            (way.shown for way in asked.ways), ("test", "validation"), asked.clicks, METRICS
        )
    )
    found = Findings(
        means={key: [0.0] for key in keys},
        users={key: wanted / (10.0 if key[2] == 3 else 1.0) for key in keys},
        wanted=wanted,
        pairs=RelevantPairs(*[np.arange(8)] * 4),
        ranks={(key[0], key[2]): np.ones(8, np.int64) for key in keys},
    )
    document = markdown(asked, found, **ABOUT)
    assert "At 3 clicks, by the number of relevant items" in document
    assert "| way | 1 to 2 | 3 to 4 | 5 to 6 | over 6 |" in document
    assert "| both | 0.1500 | 0.3500 | 0.5500 | 0.7500 |" in document
    alike = dataclasses.replace(found, wanted=np.full(8, 5))
    assert "to be found (a quarter each)" not in markdown(asked, alike, **ABOUT)


def _table(of: Callable[[str, int, int], float], users: Mapping[int, Sequence[int]]) -> pa.Table:
    """A study's table; `of` returns the share of a user's 20 items that a way finds in a seed."""
    return pa.Table.from_pylist(
        [
            {
                "label": way, "seed": seed, "part": part, "clicks": clicks, "user_id": f"u{user}",
                "wanted": 20, **{metric: of(way, seed, user) for metric in METRICS},
                "items": [f"i{(7 * user + place) % 90}" for place in range(20)],
                "ranks": [place + 1 if place < round(20 * of(way, seed, user)) else 0 for place in range(20)],
            }
            for way in ("popularity", "fold-in", "profile", "both")
            for part in ("validation", "test")
            for clicks in (1, 3)
            for seed in users
            for user in users[seed]
        ]
    )  # fmt: skip


def test_a_user_in_several_seeds_is_one_user() -> None:
    def of(way: str, seed: int, user: int) -> float:
        return (way == "both") * (0.1 * user + 0.1 * seed)

    table = _table(of, {1: [1, 2, 3], 2: [3, 4]})
    found = Findings.of(table).compared("both", "popularity", 1, "recall@20")
    assert found.difference == pytest.approx((0.2 + 0.3 + 0.4 + 0.5 + 0.6) / 5)
    assert (found.users, found.seeds) == (4, 2)


@pytest.mark.parametrize(
    ("gain", "seeds", "said"),
    [
        (0.0, 2, "no difference shown"),
        (0.3, 2, "better"),
        (-0.3, 2, "**worse**"),
        (0.3, 1, "one seed decides nothing"),
    ],
)
def test_a_difference_is_claimed_if_all_comparisons_together_show_it(
    tmp_path: Path, gain: float, seeds: int, said: str
) -> None:
    noise = np.random.default_rng(3).normal(scale=0.1, size=60)
    noise -= noise.mean()

    def of(way: str, _: int, user: int) -> float:
        return 0.5 + (way == "both") * (gain + float(noise[user]))

    found = Findings.of(_table(of, {seed: range(60) for seed in range(seeds)}))
    assert markdown(study(tmp_path), found, **ABOUT).count(f"| {said} |") == 4


def test_clicks_and_profiles_beat_popularity(paths: BenchmarkPaths, tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(STUDY.replace("seeds: [1, 2]", "seeds: [1]"))
    study_command.cold_users(path, paths, command="the command")
    table = pq.read_table(paths.out / "cold-users.parquet")
    means = {
        row["label"]: row["ndcg@20_mean"]
        for row in table.filter((pc.field("part") == "test") & (pc.field("clicks") == 1))
        .group_by("label")
        .aggregate([("ndcg@20", "mean")])
        .to_pylist()
    }
    for label in ("fold-in", "profile", "both"):
        assert means[label] > means["popularity"] + 0.1


def test_new_users_can_have_profiles_of_their_own_for_each_number_of_clicks(
    paths: BenchmarkPaths, tmp_path: Path
) -> None:
    text = STUDY.replace(
        "profiles: profiles",
        "profiles: own-{seed}\nuser_profiles: own\nnew_user_profiles: new-{seed}-{known}",
    )
    asked = study(tmp_path, text)
    split = asked.experiment.plan(1).divide(two_tastes())
    indexed = Indexed.of(two_tastes())
    info = SnapshotInfo(
        dataset="tiny", split=split.fingerprint(), source="by hand", encoder="encoder@1"
    )
    items = Snapshot.read(paths.snapshots / "profiles").items
    rows = split.scenarios[COLD_USERS].test.users
    for name, value in (("own-1", 1.0), ("new-1-1", 2.0), ("new-1-3", 3.0)):
        ids = tuple(indexed.user_ids)
        users = ProfileTable(ids, ids, np.full((len(ids), 4), value, np.float32))
        Snapshot(info, users, items).write(paths.snapshots / name)
    prepared = prepare(asked.experiment, 1, paths)
    _, here = new_users(asked, 1, prepared, paths)
    assert here.users.tolist() == rows.tolist()
    assert [here.profiles[clicks][0, 0] for clicks in (1, 3)] == [2.0, 3.0]
    before = written_profiles(asked, 1, paths)
    anew = ProfileTable(ids, ids, np.full((len(ids), 4), 4.0, np.float32))
    shutil.rmtree(paths.snapshots / "new-1-3")
    Snapshot(info, anew, items).write(paths.snapshots / "new-1-3")
    after = written_profiles(asked, 1, paths)
    assert [one == other for one, other in zip(before, after, strict=True)] == [True, False]
    assert written_profiles(study(tmp_path), 1, paths) == []
    other = study(tmp_path, text.replace("new-{seed}-{known}", "profiles"))
    with pytest.raises(BenchmarkError, match="made for another split"):
        new_users(other, 1, prepared, paths)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("clicks: [1, 3]", "clicks: [3, 1]"), "ascending"),
        (("model: popularity", "model: lightgbm"), "no model 'lightgbm'"),
        (("name: popularity", "name: fold-in"), "two ways are called 'fold-in'"),
        (("model: popularity", "model: random"), "a new user does not have"),
        (("profiles: profiles", "profiles: profiles\nuser_profiles: own"), "new_user_profiles"),
        (("embedding_size", "embeding_size"), "embeding_size"),
        (("seeds: [1, 2]", "seeds: [1, 2]\nmetric: precision@20"), "precision@20"),
        (("seeds: [1, 2]", "seeds: []"), "seeds"),
        (
            ("seeds: [1, 2]", "stranger_profiles: x"),
            r"study\.yaml: .*'stranger_profiles' is now called 'new_user_profiles'",
        ),
        (
            ("items: both", "stranger_profiles: items"),
            "stranger_profiles",
        ),
    ],
)
def test_an_invalid_study_is_refused(change: tuple[str, str], message: str, tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match=message):
        study(tmp_path, STUDY.replace(*change))
