"""Every kind of folder: erased ids are nowhere in it, and all others are as they were."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.backfill.job import FAILURES, only_one
from services.backfill.manifest import OutputManifest
from services.backfill.parts import WORK
from services.erasure.errors import ErasureError
from services.erasure.folders import erase_from
from services.erasure.kinds.registry import KINDS, expanded, kind_of
from services.erasure.targets import Targets
from services.profiles.scoring import bundle as bundles
from tests.services.erasure.folders import MADE, backfill, bundle, snapshot, words

if TYPE_CHECKING:
    from services.erasure.folders import FolderReport

USERS = [f"person-{number:03}" for number in range(13)]
ITEMS = [f"thing-{number:03}" for number in range(7)]
PROPERTY = settings(
    max_examples=15,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)

some_users = st.lists(st.sampled_from(USERS), max_size=len(USERS), unique=True)
some_items = st.lists(st.sampled_from(ITEMS), max_size=len(ITEMS) - 1, unique=True)


def erase(folder: Path, users: Any = (), items: Any = (), *, dry_run: bool = False) -> FolderReport:
    return erase_from(folder, Targets(frozenset(users), frozenset(items)), dry_run=dry_run)


def test_every_kind_is_tested() -> None:
    assert [kind.name for kind in KINDS] == list(MADE)


@pytest.mark.parametrize("kind", MADE)
def test_the_erased_are_nowhere_and_the_others_are_as_they_were(kind: str) -> None:
    make, read = MADE[kind]

    @PROPERTY
    @given(gone=some_users)
    def check(gone: list[str]) -> None:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch, "folder")
            make(folder, USERS, ITEMS)
            before = read(folder)
            report = erase(folder, gone)
            assert (report.kind, report.changed) == (kind, bool(gone))
            assert not [id_ for id_ in gone if id_ in words(folder)]
            left = {key: row for key, row in before.items() if not any(id_ in key for id_ in gone)}
            assert read(folder) == left
            assert list(folder.parent.glob(".*")) == []

    check()


@pytest.mark.parametrize("kind", [name for name in MADE if name != "backfill"])
def test_erased_items_are_nowhere_and_other_items_are_as_they_were(kind: str) -> None:
    make, read = MADE[kind]

    @PROPERTY
    @given(gone=some_items)
    def check(gone: list[str]) -> None:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch, "folder")
            make(folder, USERS, ITEMS)
            before = read(folder)
            erase(folder, items=gone)
            assert not [id_ for id_ in gone if id_ in words(folder)]
            left = {
                key: without(row, gone)
                for key, row in before.items()
                if not any(id_ in key for id_ in gone)
            }
            assert read(folder) == left

    check()


def without(value: Any, gone: list[str]) -> Any:
    """Returns a row of a bundle without references to items."""
    if isinstance(value, tuple):
        return tuple(without(each, gone) for each in value)
    if isinstance(value, dict) and not {"item_id", "id"} & set(value):
        return {key: each for key, each in value.items() if key not in gone}
    if isinstance(value, list):
        return [each for each in value if each not in gone]
    return value


@pytest.mark.parametrize("kind", MADE)
def test_a_second_erasure_changes_nothing(kind: str, tmp_path: Path) -> None:
    make, _ = MADE[kind]
    make(tmp_path / "x", USERS, ITEMS)
    assert erase(tmp_path / "x", USERS[:2]).changed
    before = states(tmp_path / "x")
    report = erase(tmp_path / "x", USERS[:2])
    assert not report.changed
    assert [count.before for count in report.counts] == [count.after for count in report.counts]
    assert states(tmp_path / "x") == before


def states(folder: Path) -> dict[Path, tuple[int, int]]:
    """Returns which file each path is, and when it was written."""
    return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in folder.rglob("*")}


@pytest.mark.parametrize("kind", MADE)
def test_a_dry_run_counts_and_writes_nothing(kind: str, tmp_path: Path) -> None:
    make, read = MADE[kind]
    make(tmp_path / "x", USERS, ITEMS)
    before = read(tmp_path / "x"), words(tmp_path / "x")
    report = erase(tmp_path / "x", USERS[:2], dry_run=True)
    assert report.changed
    assert any(count.after < count.before for count in report.counts)
    assert (read(tmp_path / "x"), words(tmp_path / "x")) == before
    assert report.counts == erase(tmp_path / "x", USERS[:2]).counts


def test_a_bundle_of_weights_is_rewritten_too(tmp_path: Path) -> None:
    _, read = MADE["bundle"]
    bundle(tmp_path / "w", USERS, ITEMS, kind="weights")
    before = read(tmp_path / "w")
    erase(tmp_path / "w", USERS[3:5], [ITEMS[0], ITEMS[5]])
    gone = [*USERS[3:5], ITEMS[0], ITEMS[5]]
    assert read(tmp_path / "w") == {
        id_: without(row, gone) for id_, row in before.items() if id_ not in gone
    }


def test_items_lose_neighbours_but_keep_as_many_as_each_other(tmp_path: Path) -> None:
    bundle(tmp_path / "b", USERS, ITEMS)
    indices = np.load(tmp_path / "b" / "neighbours_indices.npy")
    indices[0] = [1, 2, 3, 1, 2, 3]  # item 0 has none of those that go
    indices[1] = [4, 4, 0, 2, 5, 3]
    np.save(tmp_path / "b" / "neighbours_indices.npy", indices)
    manifest = json.loads((tmp_path / "b" / "manifest.json").read_bytes())
    from tests.support.bundles import record

    manifest["files"]["neighbours_indices.npy"] = record(tmp_path / "b" / "neighbours_indices.npy")
    (tmp_path / "b" / "manifest.json").write_text(json.dumps(manifest))
    erase(tmp_path / "b", items=[ITEMS[4]])
    rewritten = np.load(tmp_path / "b" / "neighbours_indices.npy")
    assert rewritten[:2].tolist() == [[1, 2, 3, 1], [0, 2, 4, 3]]


def test_a_bundle_keeps_at_least_one_item(tmp_path: Path) -> None:
    bundle(tmp_path / "b", USERS, ITEMS)
    with pytest.raises(ErasureError, match="no item would be left; delete the bundle"):
        erase(tmp_path / "b", items=ITEMS)


def test_an_interrupted_backfill_loses_journal_rows_and_its_grouped_input(tmp_path: Path) -> None:
    backfill(tmp_path / "b", USERS, ITEMS, complete=False)
    _, read = MADE["backfill"]
    left = {key: row for key, row in read(tmp_path / "b").items() if USERS[2] not in key}
    journal = sorted((tmp_path / "b" / WORK / "journal").rglob("*.parquet"))
    assert journal
    unfinished = journal[0].with_name(".unfinished.1234.new.parquet")
    unfinished.write_text(USERS[2])
    report = erase(tmp_path / "b", [USERS[2]])
    assert USERS[2] not in words(tmp_path / "b")
    assert read(tmp_path / "b") == left
    assert not (tmp_path / "b" / WORK / "grouped").exists()
    assert (tmp_path / "b" / WORK / "job.json").exists()
    counts = {count.what: count.before - count.after for count in report.counts}
    assert counts["profiles in the journal"] == 1


def test_a_part_without_rows_goes(tmp_path: Path) -> None:
    backfill(tmp_path / "b", USERS, ITEMS)
    erase(tmp_path / "b", USERS[::2])
    manifest = OutputManifest.read(tmp_path / "b")
    assert manifest is not None
    assert [part.file for part in manifest.parts] == ["part-00001.parquet"]
    assert not (tmp_path / "b" / "part-00000.parquet").exists()


def test_an_item_leaves_the_histories_of_failures(tmp_path: Path) -> None:
    backfill(tmp_path / "b", USERS, ITEMS)
    erase(tmp_path / "b", items=[ITEMS[0]])
    assert ITEMS[0] not in words(tmp_path / "b")
    lines = [json.loads(line) for line in (tmp_path / "b" / FAILURES).read_bytes().splitlines()]
    assert [line["id"] for line in lines] == sorted(USERS[::3], key=lambda id_: int(id_[-3:]) % 2)
    assert {tuple(line["history"]) for line in lines} == {tuple(ITEMS[1:3])}


def test_a_backfill_at_work_is_left_alone(tmp_path: Path) -> None:
    backfill(tmp_path / "b", USERS, ITEMS, complete=False)
    before = words(tmp_path / "b")
    with (
        only_one(tmp_path / "b" / WORK),
        pytest.raises(ErasureError, match="a backfill is at work"),
    ):
        erase(tmp_path / "b", [USERS[2]])
    assert words(tmp_path / "b") == before
    assert erase(tmp_path / "b", [USERS[2]]).changed


@pytest.mark.parametrize(
    ("kind", "file"),
    [
        ("backfill", "part-00001.parquet"),
        ("bundle", "item_bias.npy"),
        ("training data", "profiles.jsonl"),
        ("snapshot", "items.parquet"),
    ],
)
def test_a_damaged_folder_is_not_vouched_for(kind: str, file: str, tmp_path: Path) -> None:
    make, _ = MADE[kind]
    make(tmp_path / "x", USERS, ITEMS)
    make(tmp_path / "y", USERS[1:], ITEMS[::-1])
    shutil.copy(tmp_path / "y" / file, tmp_path / "x" / file)
    before = words(tmp_path / "x")
    with pytest.raises(ErasureError, match=f"{tmp_path / 'x'}.* (damaged|differ)"):
        erase(tmp_path / "x", [USERS[2]])
    assert words(tmp_path / "x") == before


def test_a_bundle_in_use_stays_as_it_was_loaded(tmp_path: Path) -> None:
    bundle(tmp_path / "b", USERS, ITEMS)
    loaded = bundles.load(tmp_path / "b")
    before = loaded.arrays["user_vectors"].copy()
    erase(tmp_path / "b", [USERS[0]])
    assert np.array_equal(loaded.arrays["user_vectors"], before)
    assert len(bundles.load(tmp_path / "b").arrays["user_vectors"]) == len(USERS) - 1


@pytest.mark.parametrize(
    ("files", "says"),
    [
        (("notes.txt",), "is no folder that can be rewritten"),
        (("trained.json",), "cannot forget anybody: delete the folder, and train again"),
        (("adapter_config.json", "manifest.json"), "holds an adapter"),
        ((), "is no folder that can be rewritten"),
    ],
)
def test_other_folders_are_refused(tmp_path: Path, files: tuple[str, ...], says: str) -> None:
    for name in files:
        (tmp_path / name).write_text("{}")
    with pytest.raises(ErasureError, match=says):
        kind_of(tmp_path)


def test_a_folder_of_folders_stands_for_them(tmp_path: Path) -> None:
    (tmp_path / "all").mkdir()
    bundle(tmp_path / "all" / "one", USERS, ITEMS)
    snapshot(tmp_path / "all" / "two", USERS, ITEMS)
    (tmp_path / "all" / ".export-x").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "all" / "one")
    one, two = tmp_path / "all" / "one", tmp_path / "all" / "two"
    assert expanded([tmp_path / "all", tmp_path / "link"]) == [one, two]
    backfill(tmp_path / "b", USERS, ITEMS)
    assert expanded([tmp_path / "b"]) == [tmp_path / "b"]
    with pytest.raises(ErasureError, match="is not a folder"):
        expanded([tmp_path / "nowhere"])


def test_a_line_that_a_killed_process_was_writing_goes_too(tmp_path: Path) -> None:
    make, read = MADE["unfinished snapshot"]
    make(tmp_path / "x", USERS, ITEMS)
    before = read(tmp_path / "x")
    with (tmp_path / "x" / "users.ndjson").open("a") as file:
        file.write(f'{{"id": "{USERS[0]}", "te')
    assert erase(tmp_path / "x", [USERS[0]]).changed
    assert USERS[0] not in words(tmp_path / "x")
    del before[USERS[0]]
    assert read(tmp_path / "x") == before


def test_users_were_asked_for_under_other_ids_by_features(tmp_path: Path) -> None:
    snapshot(tmp_path / "s", USERS, ITEMS)
    assert kind_of(tmp_path / "s").requested_ids(tmp_path / "s", "ann") == (
        "features/d/abc/first-2/ann",
    )
