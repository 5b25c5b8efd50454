"""Commands in pages are ones that the programs accept."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import recommenders.cli
import services.cli
import training.cli
from tests.docs.markdown import ROOT, blocks, pages

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

PROGRAMS: dict[str, Callable[[], argparse.ArgumentParser]] = {
    "reclm-serve": services.cli._parser,
    "reclm-recommend": recommenders.cli._parser,
    "reclm-train": training.cli._parser,
}
JOBS = {
    "backfill": "reclm-serve backfill",
    "recommend": "reclm-recommend",
    "train": "reclm-train",
}
"""What `docker-compose run` starts under a name (docker-compose.yml)."""

LEFT_OUT = "..."


def commands(text: str) -> list[str]:
    """Returns the command lines of our programs in blocks of code, continued lines joined."""
    found = []
    for line in re.sub(r"\s*\\\n\s*", " ", "\n".join(blocks(text))).splitlines():
        shown = re.sub(r"\s#.*", "", line.strip())
        if job := re.match(r"docker-compose run (?:-+\S+ (?:\S+:\S+ )?)*(\w+) ", shown):
            shown = f"{JOBS[job[1]]} {shown[job.end() :]}"
        if program := re.match(r"(?:\.venv/bin/)?(reclm-(?:serve|recommend|train))\b", shown):
            found.append((program[1] + shown[program.end() :]).strip())
    return found


def refused(command: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Returns why a program does not accept a command; empty where it does."""
    program, *words = shlex.split(re.sub(r"\[(--[^]]+)\]", r"\1", command))
    for place, option in enumerate(words[:-1]):
        if option == "--model":  # the parser looks for the tokenizer in a model's folder
            folder = Path(words[place + 1].lstrip("/"))
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "tokenizer.json").touch()
            words[place + 1] = str(folder)
    try:
        PROGRAMS[program]().parse_args(words)
    except SystemExit as ended:
        return capsys.readouterr().err if ended.code else ""
    return ""


SHOWN = sorted(
    {
        (str(page.relative_to(ROOT)), command)
        for page in pages()
        for command in commands(page.read_text())
        if LEFT_OUT not in command
    }
)


@pytest.fixture(autouse=True)
def work_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)


def test_the_pages_show_commands():
    assert len(SHOWN) > 20
    assert {command.split()[0] for _, command in SHOWN} == set(PROGRAMS)


@pytest.mark.parametrize(("page", "command"), SHOWN)
def test_the_program_accepts_the_command(
    page: str, command: str, capsys: pytest.CaptureFixture[str]
):
    assert refused(command, capsys) == ""


def test_a_wrong_command_is_found(capsys: pytest.CaptureFixture[str]):
    text = (
        "Text:\n\n    .venv/bin/reclm-serve up --no-adaptor   # a comment\n"
        "    docker-compose run --rm -v $PWD/a:/b:ro train prompts \\\n      --dataset x\n"
    )
    first, second = commands(text)
    assert first == "reclm-serve up --no-adaptor"
    assert second == "reclm-train prompts --dataset x"
    assert "--no-adaptor" in refused(first, capsys)
    assert "required" in refused(second, capsys)
    assert refused("reclm-serve up --no-adapter", capsys) == ""
