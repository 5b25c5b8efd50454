from __future__ import annotations

import json
import multiprocessing
import resource
import zlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reclm_client import Item
from services.backfill.errors import BackfillError
from services.backfill.grouping import rows as grouping_rows
from services.backfill.grouping.grouped import Grouping
from services.backfill.grouping.texts import Texts, item_digest, unknown_digest, write_texts
from services.backfill.inputs.readers import Inputs
from services.common.tabular.blocks import BadRow

if TYPE_CHECKING:
    from pathlib import Path

    from services.backfill.rows import ProfileRow

ITEMS = [
    {"item_id": "a", "title": "A", "category": "c", "description": "d"},
    {"item_id": "b", "title": "B"},
    {"item_id": "c", "title": "C"},
]


def write_lines(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def write_interactions(path: Path, rows: list[tuple[Any, Any, Any]]) -> Path:
    users, items, times = zip(*rows, strict=True) if rows else ([], [], [])
    columns = [
        pa.array(list(users), pa.string()),
        pa.array(list(items), pa.string()),
        pa.array(list(times), pa.int64()),
    ]
    pq.write_table(pa.table(columns, names=["user_id", "item_id", "timestamp"]), path)
    return path


def all_rows(grouping: Grouping) -> dict[str, ProfileRow]:
    rows = [row for partition in range(grouping.partitions) for row in grouping.rows(partition)]
    found = {row.id: row for row in rows}
    assert len(found) == len(rows) == grouping.ids
    return found


def histories_of(grouping: Grouping) -> dict[str, tuple[str | Item, ...]]:
    return {id_: row.history for id_, row in all_rows(grouping).items()}


def user_grouping(
    tmp_path: Path, rows: list[Any], items: list[Any] = ITEMS, **options: Any
) -> Grouping:
    inputs = Inputs(
        kind="user",
        interactions=write_interactions(tmp_path / "x.parquet", rows),
        items=write_lines(tmp_path / "items.ndjson", *items),
    )
    return Grouping.make(tmp_path / "grouped", inputs, **{"history": 10, **options})


def test_users_by_hand(tmp_path: Path) -> None:
    rows = [
        ("v", "a", 5),
        ("u", "b", 9),
        ("u", "c", 3),
        ("u", "a", 9),
        ("v", "a", 4),
        ("u", "b", 1),
    ]
    grouping = user_grouping(tmp_path, rows, history=3)
    assert histories_of(grouping) == {"u": ("c", "b", "a"), "v": ("a", "a")}
    assert (grouping.partitions, grouping.interactions, grouping.bad) == (8, 6, 0)
    assert list(grouping.bad_rows()) == []
    assert all(len(row.digest) == 16 for row in all_rows(grouping).values())


def test_without_times_the_order_of_the_input_counts(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "1.csv").write_text("user_id,item_id,weight\nu,a,1\nv,a,1\nu,x,0.5\nu,b,1\n")
    (tmp_path / "in" / "2.ndjson").write_text('{"user_id":"u","item_id":7,"weight":2}\nno\n')
    inputs = Inputs(kind="user", interactions=tmp_path / "in", min_weight=1)
    seen: list[int] = []
    grouping = Grouping.make(tmp_path / "deep" / "grouped", inputs, history=9, progress=seen.append)
    assert histories_of(grouping) == {"u": ("a", "b", "7"), "v": ("a",)}
    assert (grouping.interactions, grouping.bad, seen) == (6, 1, [4, 6])
    why = "not JSON: expected ident at line 1 column 2"
    assert list(grouping.bad_rows()) == [BadRow(None, "2.ndjson, line 2", why, "no")]


@given(
    st.lists(
        st.tuples(
            st.text("uvé0", min_size=1, max_size=2), st.sampled_from("abcxy"), st.integers(-3, 3)
        ),
        max_size=60,
    ),
    st.integers(1, 40),
    st.integers(1, 5),
    st.tuples(st.integers(2, 60), st.integers(1, 9)),
)
def test_grouping_is_that_of_a_dict(
    tmp_path_factory: pytest.TempPathFactory,
    interactions: list[tuple[str, str, int]],
    partitions: int,
    history: int,
    sizes: tuple[int, int],
) -> None:
    wanted: dict[str, list[tuple[int, str]]] = {}
    for user, item, time in interactions:
        wanted.setdefault(user, []).append((time, item))
    for entries in wanted.values():
        entries.sort(key=lambda entry: entry[0])
    folder = tmp_path_factory.mktemp("grouped")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grouping_rows, "_COMPACT_ROWS", sizes[0])
        patch.setattr(grouping_rows, "_ROWS_AT_ONCE", sizes[1])
        grouping = user_grouping(folder, interactions, history=history, partitions=partitions)
        assert histories_of(grouping) == {
            user: tuple(item for _, item in entries[-history:]) for user, entries in wanted.items()
        }
        for partition in range(partitions):
            rows = list(grouping.rows(partition))
            assert rows == sorted(rows, key=lambda row: (row.history[:4], row.id))


def test_a_digest_is_over_all_that_is_referred_to(tmp_path: Path) -> None:
    rows = [("u", "a", 1), ("u", "b", 2), ("v", "a", 1), ("v", "x", 2), ("w", "c", 1)]

    def digests(name: str, rows: list[Any], items: list[Any], **options: Any) -> dict[str, bytes]:
        (tmp_path / name).mkdir()
        grouping = user_grouping(tmp_path / name, rows, items, **options)
        return {id_: row.digest for id_, row in all_rows(grouping).items()}

    def changed(name: str, *args: Any, **options: Any) -> set[str]:
        other = digests(name, *args, **options)
        return {id_ for id_ in first if first[id_] != other.get(id_)}

    first = digests("first", rows, ITEMS)
    assert len(set(first.values())) == 3
    assert changed("same", rows, ITEMS, partitions=3) == set()
    assert changed("later", [(user, item, time + 9) for user, item, time in rows], ITEMS) == set()
    for number, member in enumerate(("title", "category", "description")):
        items = [{**ITEMS[0], member: "else"}, *ITEMS[1:]]
        assert changed(f"text{number}", rows, items) == {"u", "v"}
    assert changed("moved", rows, [{**ITEMS[0], "category": "", "description": "cd"}]) == {
        "u",
        "v",
        "w",
    }
    assert changed("last", rows, [{**ITEMS[0], "title": "Z"}, *ITEMS]) == set()
    assert changed("known", rows, [*ITEMS, {"item_id": "x", "title": "X"}]) == {"v"}
    assert changed("order", [("u", "a", 3), *rows[1:]], ITEMS) == {"u"}
    assert changed("more", [*rows, ("w", "a", 0)], ITEMS) == {"w"}
    assert changed("cut", [*rows, ("w", "a", 0)], ITEMS, history=1) == {"u", "v"}


def test_an_item_without_a_text_is_not_the_one_with_an_empty_one(tmp_path: Path) -> None:
    rows = [("u", "a", 1), ("v", "b", 1)]
    (tmp_path / "none").mkdir()
    (tmp_path / "empty").mkdir()
    none = all_rows(user_grouping(tmp_path / "none", rows, []))
    empty = all_rows(user_grouping(tmp_path / "empty", rows, [{"item_id": "a", "title": ""}]))
    assert none["u"].digest != empty["u"].digest
    assert none["v"] == empty["v"]
    assert none["u"].digest != none["v"].digest


def test_items(tmp_path: Path) -> None:
    path = write_lines(
        tmp_path / "x.ndjson", *ITEMS, {"item_id": "b", "title": "B2"}, {"item_id": "", "title": ""}
    )
    grouping = Grouping.make(tmp_path / "one", Inputs(kind="item", items=path), history=5)
    assert histories_of(grouping) == {"a": (), "b": (), "c": ()}
    assert (grouping.interactions, grouping.bad) == (5, 1)
    only = write_lines(tmp_path / "y.ndjson", {"item_id": "b", "title": "B2"}, *ITEMS[::2])
    other = Grouping.make(
        tmp_path / "two", Inputs(kind="item", items=only), history=5, partitions=1
    )
    assert all_rows(other) == all_rows(grouping)
    assert [row.id for row in other.rows(0)] == ["a", "b", "c"]


HISTORIES = [
    {"id": "u", "history": ["a", {"id": "z", "title": "Z"}, {"title": "Q", "category": "c"}, 7]},
    {"id": "v", "history": []},
    {"id": "u", "history": ["b"]},
    {"id": "w", "history": ["a"], "error": {"status": 503}},
]
INLINE = (Item("z", "Z"), Item("", "Q", "c"), "7")


def test_histories(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "x.ndjson", *HISTORIES)
    items = write_lines(tmp_path / "i.ndjson", *ITEMS)
    inputs = Inputs(kind="user", histories=path, items=items)
    grouping = Grouping.make(tmp_path / "grouped", inputs, history=3, partitions=1)
    assert histories_of(grouping) == {"u": INLINE, "v": (), "w": ("a",)}
    assert [row.id for row in grouping.rows(0)] == ["v", "w", "u"]
    assert list(grouping.bad_rows()) == [
        BadRow(
            "u", "x.ndjson, line 3", "a second row with this id", '{"id": "u", "history": ["b"]}'
        )
    ]
    assert (grouping.interactions, grouping.bad) == (4, 1)
    first = all_rows(grouping)
    interactions = user_grouping(tmp_path, [("w", "a", 1)])
    assert all_rows(interactions)["w"] == first["w"]

    write_lines(
        path,
        {"id": "u", "history": ["a", {"id": "z", "title": "Zz"}, *HISTORIES[0]["history"][2:]]},
        *HISTORIES[1:],
    )
    changed = all_rows(Grouping.make(tmp_path / "grouped", inputs, history=3, partitions=1))
    assert {id_ for id_ in first if first[id_].digest != changed[id_].digest} == {"u"}


def test_items_with_histories(tmp_path: Path) -> None:
    path = write_lines(
        tmp_path / "x.ndjson", {"id": "a", "history": ["b"]}, {"id": "x", "history": []}
    )
    items = write_lines(tmp_path / "i.ndjson", *ITEMS)
    inputs = Inputs(kind="item", histories=path, items=items)
    grouping = Grouping.make(tmp_path / "grouped", inputs, history=3)
    first = all_rows(grouping)
    assert histories_of(grouping) == {"a": ("b",), "x": ()}
    write_lines(items, {**ITEMS[0], "title": "else"}, *ITEMS[1:])
    changed = all_rows(Grouping.make(tmp_path / "grouped", inputs, history=3))
    assert first["a"].digest != changed["a"].digest
    assert first["x"] == changed["x"]


def _rows_elsewhere(grouping: Grouping) -> list[ProfileRow]:
    return list(all_rows(grouping).values())


def test_the_order_is_the_same_each_time_and_in_any_process(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    rows = [(f"u{user}", f"i{item}", 0) for user, item in rng.integers(0, 40, (500, 2)).tolist()]
    grouping = user_grouping(tmp_path, rows, partitions=5)
    first = list(all_rows(grouping).values())
    assert list(all_rows(grouping).values()) == first
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(_rows_elsewhere, (grouping,)) == first


def test_a_complete_grouping_is_found_again(tmp_path: Path) -> None:
    rows = [("u", "a", 1), ("v", "b", 1)]
    inputs = Inputs(kind="user", interactions=write_interactions(tmp_path / "x.parquet", rows))

    builds: list[int] = []

    def made(**options: Any) -> int:
        """Returns how many builds there have been."""
        Grouping.make(
            tmp_path / "grouped", inputs, **{"history": 5, **options}, progress=builds.append
        )
        return len(builds)

    assert made() == 1
    assert made() == 1
    grouping = Grouping.make(tmp_path / "grouped", inputs, history=5)
    assert histories_of(grouping) == {"u": ("a",), "v": ("b",)}
    assert made(history=4) == 2
    assert made(history=4, partitions=2) == 3
    assert made(history=4, partitions=2) == 3
    write_interactions(tmp_path / "x.parquet", [*rows, ("w", "a", 1)])
    assert made(history=4, partitions=2) == 4
    next((tmp_path / "grouped").glob("partition-*")).unlink()
    assert made(history=4, partitions=2) == 5
    grouping = Grouping.make(tmp_path / "grouped", inputs, history=4, partitions=2)
    assert set(histories_of(grouping)) == {"u", "v", "w"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["grouped", "x.parquet"]


def test_an_interrupted_build_is_begun_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in").mkdir()
    for number in range(3):
        write_interactions(tmp_path / "in" / f"{number}.parquet", [("u", f"i{number}", 0)])
    inputs = Inputs(kind="user", interactions=tmp_path / "in")

    def stop(read: int) -> None:
        if read == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Grouping.make(tmp_path / "grouped", inputs, history=5, progress=stop)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]

    # Killed, nothing is cleared away.
    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree", lambda *_, **__: None)
        with pytest.raises(KeyboardInterrupt):
            Grouping.make(tmp_path / "grouped", inputs, history=5, progress=stop)
    assert (tmp_path / "grouped.partial").is_dir()
    (tmp_path / "grouped.old").mkdir()
    grouping = Grouping.make(tmp_path / "grouped", inputs, history=5)
    assert histories_of(grouping) == {"u": ("i0", "i1", "i2")}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["grouped", "in"]


def test_what_is_no_grouping_is_left_alone(tmp_path: Path) -> None:
    inputs = Inputs(kind="user", interactions=write_interactions(tmp_path / "x.parquet", []))
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "a.txt").write_text("years of work")
    with pytest.raises(BackfillError, match="something other than a grouped input"):
        Grouping.make(tmp_path / "thesis", inputs, history=5)
    assert [path.name for path in (tmp_path / "thesis").iterdir()] == ["a.txt"]
    (tmp_path / "empty").mkdir()
    assert histories_of(Grouping.make(tmp_path / "empty", inputs, history=5)) == {}
    for options in (
        {"history": 0},
        {"history": 1, "partitions": 0},
        {"history": 1, "partitions": 5000},
    ):
        with pytest.raises(BackfillError):
            Grouping.make(tmp_path / "grouped", inputs, **options)
    with pytest.raises(BackfillError, match="is missing"):
        Grouping.make(
            tmp_path / "grouped", replace(inputs, interactions=tmp_path / "y.csv"), history=5
        )
    with pytest.raises(ValueError, match="partition 8 is none"):
        Grouping.make(tmp_path / "empty", inputs, history=5).rows(8)


def test_thousands_of_partitions_need_few_open_files(tmp_path: Path) -> None:
    rows = [(f"u{number}", "a", 0) for number in range(9_000)]
    inputs = Inputs(kind="user", interactions=write_interactions(tmp_path / "x.parquet", rows))
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, limits[1]))
    try:
        grouping = Grouping.make(tmp_path / "grouped", inputs, history=5, partitions=4096)
        assert len(all_rows(grouping)) == 9_000
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert len(list((tmp_path / "grouped").glob("partition-*"))) > 3_000


def test_items_with_one_checksum_are_told_apart(tmp_path: Path) -> None:
    one, two, neither = "plumless", "buckeroo", "codding"
    assert zlib.crc32(one.encode()) == zlib.crc32(two.encode())
    texts = [Item(name, f"about {name}") for name in (one, two)]
    write_texts(tmp_path / "items.arrow", [texts])
    found = Texts(tmp_path / "items.arrow").digests(pa.array([two, neither, one]))
    wanted = [item_digest(texts[1]), unknown_digest(neither), item_digest(texts[0])]
    assert [bytes(digest) for digest in found] == wanted
    write_texts(tmp_path / "one.arrow", [texts[:1]])
    (found,) = Texts(tmp_path / "one.arrow").digests(pa.array([two]))
    assert bytes(found) == unknown_digest(two)
