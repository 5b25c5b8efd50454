"""What a job makes of its rows: those that changed, poison, items that are gone."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.e2e.backfill.inputs import ITEMS, choices
from tests.e2e.backfill.jobs import backfill, command, lines, read

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.backfill.inputs import Few, Filled
    from tests.e2e.backfill.jobs import Stack

pytestmark = [pytest.mark.stack, pytest.mark.model, pytest.mark.timeout(1500)]


def test_what_has_changed_is_made_anew(
    stack: Stack, few: Few, tmp_path: Path, engine: list[str]
) -> None:
    out = tmp_path / "out"
    backfill(stack, out, *few.arguments(), *engine)
    first = {row["id"]: row for row in read(out).to_pylist()}

    longer, gone = few.ids[0], few.ids[1]
    rows = [row for row in choices(few.ids) if row[0] != gone]
    retitled = [{**ITEMS[0], "title": "Heat: the director's cut (1995)"}, *ITEMS[1:]]
    few.write([*rows, (longer, ITEMS[2]["item_id"])], retitled)
    heat = {user for user, item in rows if item == ITEMS[0]["item_id"]}
    summary = backfill(stack, out, *few.arguments(), *engine)

    second = {row["id"]: row for row in read(out).to_pylist()}
    changed = {id_ for id_ in second if second[id_]["input_hash"] != first[id_]["input_hash"]}
    assert changed == heat | {longer}
    assert second.keys() == first.keys() - {gone}
    assert summary["outcomes"]["generated"] == len(changed)
    assert all(second[id_] == first[id_] for id_ in second.keys() - changed)


def test_poison_costs_only_itself(
    stack: Stack, few: Few, tmp_path: Path, engine: list[str]
) -> None:
    long = {"item_id": "few long", "title": "x" * 1_000_000}
    few.write(choices(few.ids), [*ITEMS, long, {"item_id": ["few"], "title": "list"}])
    with few.interactions.open("ab") as file:
        file.write(b'{"user_id": "poison unknown", "item_id": "no such item"}\n')
        file.write(b'{"user_id": "poison long", "item_id": "few long"}\n')
        file.write(b'{"user_id": {"a": 1}, "item_id": "few Heat"}\n')
        file.write(b'{"user_id": null, "item_id": "few Heat"}\n')
        file.write(b'{"user_id": "cut off", "item\n')
        file.write(b'{"user_id": "\xff\xfe", "item_id": "few Heat"}\n')
        file.write(b'{"user_id": "%s", "item_id": "few Heat"}\n' % (b"y" * 1_000_000))
    out = tmp_path / "out"
    summary = backfill(stack, out, *few.arguments(), *engine, status=3)

    assert summary["status"] == "partial"
    assert read(out)["id"].to_pylist() == few.ids
    assert summary["outcomes"]["failed"] == 2
    failures = {row["id"]: row for row in lines(out / "failures.ndjson")}
    assert failures["poison unknown"]["error"]["code"] == "unknown-items"
    assert "no such item" in failures["poison unknown"]["history"]
    assert failures["poison long"]["error"]["code"] == "unknown-items"
    bad = lines(out / "bad-rows.ndjson")
    assert len(bad) == summary["bad_rows"] == 6
    assert all("line" in row["where"] and row["why"] for row in bad)
    (refused,) = lines(out / "refused-items.ndjson")
    assert refused["item_id"] == "few long"
    assert len(refused["title"]) < 10_000

    # Mended, the failures are an input again.
    mended = tmp_path / "mended.ndjson"
    mended.write_text(json.dumps({**failures["poison unknown"], "history": ["few Heat"]}) + "\n")
    summary = backfill(stack, tmp_path / "mended", "--histories", mended, *engine)
    assert (summary["status"], summary["rows"]) == ("complete", 1)


def test_items_that_are_gone_can_be_left_out(stack: Stack, few: Few, tmp_path: Path) -> None:
    few.write([*choices(few.ids), (few.ids[0], "gone"), ("nothing left", "gone")], ITEMS)
    out = tmp_path / "out"
    summary = backfill(stack, out, *few.arguments(), "--unknown-items", "drop", status=3)
    assert read(out)["id"].to_pylist() == few.ids
    assert [row["id"] for row in lines(out / "failures.ndjson")] == ["nothing left"]
    assert summary["outcomes"]["failed"] == 1


def test_a_run_of_failures_ends_the_job_with_its_cause(
    stack: Stack, few: Few, tmp_path: Path
) -> None:
    few.write([(f"nobody {number}", "no such item") for number in range(500)], ITEMS)
    out = tmp_path / "out"
    done = subprocess.run(
        [*command(out, *few.arguments()), "--url", stack.service.url],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "the last 100 rows have all failed, 100 of them with unknown-items" in done.stderr
    assert json.loads(done.stdout)["outcomes"]["failed"] < 500
    assert 100 <= len(lines(out / "failures.ndjson")) < 500


def test_items_are_profiled_from_the_catalogue(stack: Stack, few: Few, tmp_path: Path) -> None:
    out = tmp_path / "out"
    summary = backfill(stack, out, "--items", few.items, kind="item")
    assert (summary["status"], summary["rows"]) == ("complete", len(ITEMS))
    assert all(text.startswith("Item identity: ") for text in read(out)["text"].to_pylist())


def test_a_dry_run_counts_and_estimates(
    stack: Stack, films: Path, filled: Filled, tmp_path: Path
) -> None:
    done = subprocess.run(
        [
            *command(tmp_path / "out", "--interactions", filled.interactions, "--items", films),
            *("--url", stack.service.url, "--dry-run", "--sample", "4", "--refresh"),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "2,000 profiles, 0 of them done, 2,000 to make" in done.stdout
    assert "tokens to read" in done.stdout
    assert not list((tmp_path / "out").glob("part-*"))
