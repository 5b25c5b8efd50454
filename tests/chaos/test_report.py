"""The table, the figures in a file, the stories, and the command line."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from tests.chaos import report
from tests.chaos.__main__ import main
from tests.chaos.faults import FAULTS, NEEDS
from tests.chaos.history import History, Violation, Window, write_story
from tests.chaos.report import FaultSeen, Result
from tests.docs.markdown import ROOT

if TYPE_CHECKING:
    from pathlib import Path

VIOLATIONS = [
    Violation("lost", "an event", 1, 7),
    Violation("wrong", "a vector", 1, 8),
    Violation("erased", "a profile", 2, 9),
    Violation("repeated", "a call", 2, None),
    Violation("slow", "after redis-killed", None, None),
]


@pytest.fixture
def result() -> Result:
    return Result(
        command="python -m tests.chaos",
        seed=1,
        seconds=60.0,
        operations={"read": 1500},
        statuses={"200": 1490, "503": 8, "none": 2},
        faults=[
            FaultSeen("redis-killed", 3, 2, 0.5),
            FaultSeen("worker-killed", 9, 4, 1.0),
            FaultSeen("redis-killed", 15, 2, 1.25),
        ],
        violations=list(VIOLATIONS),
        erased=12,
        accepted=34,
    )


def test_the_table(result: Result) -> None:
    lines = report.table(result).splitlines()
    assert lines[2].split() == ["redis-killed", "2", "1.2", "s"]
    assert lines[3].split() == ["worker-killed", "1", "1.0", "s"]
    assert lines[5] == "requests 1,500 in 60 s: 200 1,490, 503 8, none 2"
    assert lines[-1] == "faults 3, lost 1, wrong 3, slow to recover 1"


def test_a_fault_that_was_not_recovered_from_is_not_hidden_by_another(result: Result) -> None:
    result.faults.insert(1, FaultSeen("redis-killed", 6, 2, None))
    assert result.largest()["redis-killed"] == (3, None)
    assert "redis-killed         3  not in time" in report.table(result)


def test_the_file_replaces_that_of_before(result: Result, tmp_path: Path) -> None:
    path = tmp_path / "build" / "chaos.json"
    report.write(path, result)
    result.seed = 2
    report.write(path, result)
    (only,) = path.parent.iterdir()
    document = json.loads(only.read_text())
    assert document["seed"] == 2
    assert (document["requests"], document["lost"], document["wrong"]) == (1500, 1, 3)
    assert document["recovery_s"]["redis-killed"] == {"times": 2, "largest": 1.25}
    assert document["violations"] == dict.fromkeys(report.INVARIANTS, 1)


def test_a_story_has_requests_and_faults_in_order(tmp_path: Path) -> None:
    history = History()
    first = history.begin("read", subject=1)
    first.status, first.answer = 200, {"id": "reader-1"}
    history.end(first)
    window = Window("redis-killed", first.begun + 10, first.begun + 12)
    second = history.begin("erase", subject=1)
    second.begun, second.why = first.begun + 11, "ReadTimeout"
    path = tmp_path / "stories" / "subject-1.txt"
    write_story(path, VIOLATIONS[:2], history.story(1), [window], since=first.begun)
    told = path.read_text()
    assert told.startswith("VIOLATED lost: an event (call 7)\nVIOLATED wrong: a vector (call 8)\n")
    events = re.findall(r"^ +([\d.]+)  (.{12})", told, re.MULTILINE)
    assert events == [
        ("0.000", "call 1 read "),
        ("10.000", "---- redis-k"),
        ("11.000", "call 2 erase"),
        ("12.000", "---- redis-k"),
    ]
    assert "None after open: ReadTimeout" in told


def test_a_story_keeps_the_last_requests_of_those_who_were_asked_about_last() -> None:
    history = History()
    for number in range(5_002):
        history.begin("read", subject=number)
        history.begin("read", subject=0)
    assert history.story(1) == []
    assert len(history.story(5_001)) == 1
    assert len(history.story(0)) == 400


@pytest.mark.parametrize(
    "arguments",
    [
        ["--minutes", "0"],
        ["--minutes", "soon"],
        ["--hours", "20000"],
        ["--hours", "1", "--minutes", "1"],
        ["--model", "gpt"],
        ["--faults", "earthquake"],
    ],
)
def test_a_command_line_that_is_not_understood(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "error:" in capsys.readouterr().err


def test_the_page_names_every_fault() -> None:
    page = (ROOT / "docs" / "results" / "chaos.md").read_text()
    assert [name for name in FAULTS if f"`{name}`" not in page] == []
    assert set(NEEDS) <= set(FAULTS)
