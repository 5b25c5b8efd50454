"""`reclm-train data unseen`: prompts of users without a profile, with hidden choices to find."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from services.profiles.generation.prompts.registry import CURRENT
from services.profiles.generation.token_budget import newest_that_fit, utf8_length
from tests.training.data.made import READING, dataset, kept
from training import cli
from training.data.builders.unseen import Unseen, unseen_rows
from training.data.prompts import turns
from training.data.rows import read_rows
from training.evaluation.behaviour import behaviour
from training.evaluation.writers import HeldOut

if TYPE_CHECKING:
    from pathlib import Path

    from training.data.builders.distillation import Reading

FILMS = [f"f{number:02}" for number in range(12)]
HISTORIES = {f"u{number}": FILMS[: 4 + number] for number in range(8)}
LINES = {film: f"Film {film} (1995)" for film in FILMS}


THREE = replace(READING, max_items=3)


def draw(seen: tuple[str, ...] = (), reading: Reading = THREE, **options: int) -> Unseen:
    chosen = {"users": 10, "hidden": 2, "seed": 0} | options
    return unseen_rows(HISTORIES, LINES, seen, reading, **chosen)


def shown(row: dict[str, Any]) -> list[str]:
    lines = row["prompt"][-1]["content"].splitlines()[1:]
    return [line.removeprefix("- Film ").removesuffix(" (1995)") for line in lines]


def test_a_prompt_shows_a_draw_in_the_order_of_the_history() -> None:
    rows = draw().rows
    assert rows
    for row in rows:
        films = shown(row)
        assert len(set(films)) == 3
        assert films == sorted(films)
        assert set(films) < set(HISTORIES[row["id"]])
        assert row["hidden"] == len(HISTORIES[row["id"]]) - 3
        lines = [LINES[film] for film in films]
        assert row["prompt"] == turns(CURRENT.user_messages(lines, examples=False))
    assert any(shown(row) != HISTORIES[row["id"]][-3:] for row in rows)


def test_who_was_seen_or_chose_too_little_is_left_out_and_counted() -> None:
    built = draw(seen=("u7", "u3", "nobody"))
    assert {row["id"] for row in built.rows} == {"u1", "u2", "u4", "u5", "u6"}
    assert built.counts == {
        "seen": 2,
        "too few choices": 1,
        "nothing readable": 0,
        "not drawn": 0,
    }


def test_users_are_a_draw_that_a_seed_decides() -> None:
    few = draw(users=3)
    assert few.counts["not drawn"] == 4
    assert few.rows == draw(users=3).rows == draw().rows[:3]
    assert [row["id"] for row in few.rows] != sorted(row["id"] for row in few.rows)
    assert draw(seed=1).rows != draw().rows


def test_what_has_no_room_is_hidden_too_and_counted() -> None:
    room = newest_that_fit([LINES[film] for film in FILMS], 50, utf8_length)
    assert len(room) < 3
    built = draw(reading=replace(THREE, history_tokens=50))
    assert built.rows
    for row in built.rows:
        assert len(shown(row)) == len(room)
        assert row["hidden"] == len(HISTORIES[row["id"]]) - len(room)
    assert built.cut == len(built.rows)
    assert draw().cut == 0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    dataset(HISTORIES).write(tmp_path / "data")
    (tmp_path / "teacher").mkdir()
    rows = [kept("u7", ["Heat"]).answer.to_row(), {"id": "u6", "kind": "item"}]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "teacher" / "profiles.jsonl").write_text(text)
    (tmp_path / "looked-at.jsonl").write_text('{"id": "u5"}\n')
    return tmp_path


def run(folder: Path, *options: str) -> int:
    given = ["--dataset", str(folder / "data"), "--out", str(folder / "out"), "--max-items", "3"]
    return cli.main(["data", "unseen", *given, "--hidden", "2", *options])


def test_the_command_leaves_out_whom_folders_and_files_name(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    named = [str(folder / name) for name in ("teacher", "looked-at.jsonl")]
    assert run(folder, "--profiles", *named) == 0
    assert "left out: seen 2, too few choices 1" in capsys.readouterr().out
    rows = list(read_rows(HeldOut, folder / "out" / "prompts.jsonl"))
    assert {row.id for row in rows} == {"u1", "u2", "u3", "u4", "u6"}
    # `compare` looks for what the prompt does not name, and nothing else.
    found = behaviour(rows, dataset(HISTORIES))
    assert [found.hidden[[at]].sum() for at in range(len(rows))] == [
        len(HISTORIES[row.id]) - 3 for row in rows
    ]
    manifest = json.loads((folder / "out" / "manifest.json").read_text())
    assert manifest["options"] == {"users": 1200, "hidden": 2, "seed": 0}


def test_the_command_reads_what_it_is_told_to_read(folder: Path) -> None:
    looked_at = str(folder / "looked-at.jsonl")
    assert run(folder, "--profiles", looked_at, "--split", "leave-last-out") == 0
    rows = list(read_rows(HeldOut, folder / "out" / "prompts.jsonl"))
    assert "u1" not in {row.id for row in rows}  # of five choices, two are what others ask for
    assert run(folder, "--profiles", looked_at, "--min-weight", "6", "--force") == 1


def test_what_names_nobody_is_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "looked-at.jsonl").write_text('{"id": "u5"}\n{"user": "u4"}\n')
    assert run(folder, "--profiles", str(folder / "looked-at.jsonl")) == 1
    assert "looked-at.jsonl, line 2: no id" in capsys.readouterr().err
    assert run(folder, "--profiles", str(folder / "nowhere.jsonl")) == 1
    assert "nowhere.jsonl is missing" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        run(folder)
    assert "required: --profiles" in capsys.readouterr().err
    (folder / "looked-at.jsonl").write_text('{"id": "nobody"}\n')
    assert run(folder, "--profiles", str(folder / "looked-at.jsonl"), "--hidden", "50") == 1
    assert "nothing is left: seen 0, too few choices 8" in capsys.readouterr().err
    assert not (folder / "out").exists()
