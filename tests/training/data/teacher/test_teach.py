"""`reclm-train teach`: what it asks, saves, asks again, and resumes."""

from __future__ import annotations

import asyncio
import json
import re
import time
from typing import TYPE_CHECKING, Any

import pytest

from services.profiles.domain.profile import Message
from services.profiles.generation.prompts.registry import CURRENT
from tests.training.data.made import dataset
from tests.training.data.teacher.server import PROFILE, TeacherServer, completion, good
from training import cli
from training.data.errors import InstructionDataError
from training.data.prompts import Prompt
from training.data.teacher.endpoint import Endpoint, Teacher
from training.data.teacher.estimate import Prices, about_a_token, estimate
from training.data.teacher.journal import Journal
from training.data.teacher.run import GIVE_UP, sampled
from training.data.teacher.run import teach as run_teach

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

USERS = 30


@pytest.fixture
def server() -> Iterator[TeacherServer]:
    with TeacherServer() as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    films = [f"f{number}" for number in range(6)]
    dataset({f"u{number}": films for number in range(USERS)}).write(tmp_path / "data")
    return tmp_path / "data"


def teach(folder: Path, server: TeacherServer, *options: str, limit: int = USERS) -> int:
    return cli.main(
        [
            *("teach", "--kind", "user", "--dataset", str(folder), "--url", server.url),
            *("--out", str(folder.parent / "out"), "--teacher", "big", "--limit", str(limit)),
            *options,
        ]
    )


def rows(folder: Path, name: str = "answers.jsonl") -> list[dict[str, Any]]:
    text = (folder.parent / "out" / name).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def prompts(count: int) -> list[Prompt]:
    return [
        Prompt(f"u{number}", "user", CURRENT.user_messages(["Heat"]), ["Heat"])
        for number in range(count)
    ]


def ask(server: TeacherServer, **options: Any) -> Any:
    async def once() -> Any:
        teacher = Teacher(**{"url": server.url, "model": "big", "wait_s": 0.001} | options)
        async with Endpoint(teacher, connections=1) as endpoint:
            return await endpoint.ask(prompts(1)[0])

    return asyncio.run(once())


def run(server: TeacherServer, out: Path, count: int, **options: Any) -> Any:
    teacher = Teacher(url=server.url, model="big", wait_s=0.001, tries=2, forms=1)
    options = {"concurrency": 1, "progress": lambda _: None} | options
    with Journal(out, {"a": 1}) as journal:
        outcome = asyncio.run(run_teach(prompts(count), teacher, journal, **options))
        return outcome, set(journal.done)


def test_every_answer_is_kept_with_what_was_read(
    folder: Path, server: TeacherServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert teach(folder, server, "--prompt-price", "2", "--answer-price", "10") == 0
    found = rows(folder)
    assert sorted(row["id"] for row in found) == sorted(f"u{number}" for number in range(USERS))
    assert found[0]["lines"] == [f"F{number} | Drama" for number in range(6)]
    assert found[0]["source"] == "big"
    assert server.requests[0]["model"] == "big"
    assert [turn["role"] for turn in server.requests[0]["messages"]][-1] == "user"
    assert server.authorizations[0] is None
    printed = capsys.readouterr()
    assert f"{USERS} of {USERS} answers" in printed.out
    # 3,000 prompt tokens at 2 and 300 answer tokens at 10 for a million: 0.009.
    assert "3,000 prompt and 300 answer tokens, which cost 0.01" in printed.out
    assert "30 requests, about" in printed.err


def test_a_larger_sample_asks_for_what_is_lacking_alone(
    folder: Path, server: TeacherServer
) -> None:
    assert teach(folder, server, limit=10) == 0
    first = [row["id"] for row in rows(folder)]
    assert teach(folder, server, limit=25) == 0
    found = [row["id"] for row in rows(folder)]
    assert found[:10] == first
    assert len(set(found)) == len(found) == len(server.requests) == 25


def test_a_line_that_a_kill_left_unfinished_is_asked_for_again(
    folder: Path, server: TeacherServer
) -> None:
    assert teach(folder, server, limit=5) == 0
    path = folder.parent / "out" / "answers.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[:-40])
    assert teach(folder, server, limit=5) == 0
    assert len(rows(folder)) == 5
    assert len(server.requests) == 6
    assert path.read_bytes().startswith(whole[: whole[:-40].rfind(b"\n") + 1])


def test_answers_to_another_plan_are_not_mixed_in(
    folder: Path, server: TeacherServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert teach(folder, server, limit=2) == 0
    assert teach(folder, server, "--temperature", "0", limit=3) == 1
    assert "has answers for temperature 0.7 and not 0.0; choose another" in capsys.readouterr().err
    (folder.parent / "mine").mkdir()
    (folder.parent / "mine" / "file").touch()
    with (
        pytest.raises(InstructionDataError, match="holds other files"),
        Journal(folder.parent / "mine", {}),
    ):
        pass


def test_two_runs_do_not_share_a_folder(tmp_path: Path) -> None:
    with (
        Journal(tmp_path / "out", {"a": 1}),
        pytest.raises(InstructionDataError, match="in use by another run"),
        Journal(tmp_path / "out", {"a": 1}),
    ):
        pass
    with Journal(tmp_path / "out", {"a": 1}) as journal:
        assert not journal.done


def test_the_estimate_asks_nothing_and_the_budget_refuses(
    folder: Path, server: TeacherServer, capsys: pytest.CaptureFixture[str]
) -> None:
    prices = ("--prompt-price", "1000", "--answer-price", "1000")
    assert teach(folder, server, "--estimate", *prices) == 0
    assert "Nothing was asked" in capsys.readouterr().out
    assert teach(folder, server, "--budget", "1", *prices) == 1
    assert "is over --budget 1.00" in capsys.readouterr().err
    assert teach(folder, server, "--budget", "1") == 1
    assert "--budget needs --prompt-price" in capsys.readouterr().err
    assert not server.requests


def test_an_estimate_counts_what_is_sent() -> None:
    found = estimate(
        [Prompt("u", "user", [Message("user", "x" * 40)], [])] * 3, about_a_token, answer_limit=100
    )
    assert (found.requests, found.prompt_tokens) == (3, 3 * (10 + 8))
    assert (found.answer_tokens, found.most_answer_tokens) == (180, 300)
    assert found.most(Prices(prompt=1e6, answer=1e6)) == 54 + 300


def test_a_budget_ends_a_run_that_costs_more_than_was_thought(
    tmp_path: Path, server: TeacherServer
) -> None:
    prices = Prices(prompt=1e4, answer=0)  # 100 tokens cost 1
    outcome, done = run(server, tmp_path / "out", 10, prices=prices, budget=2.5)
    assert len(done) == outcome.answered == 3
    assert outcome.stopped == "the budget of 2.50 is used up"


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_a_busy_server_is_asked_again(server: TeacherServer, status: int) -> None:
    server.respond = lambda number: (status, {}, {}) if number < 3 else good(number)
    reply = ask(server)
    assert reply.failure is None
    assert len(server.requests) == 4


def test_a_server_that_says_how_long_is_waited_for(server: TeacherServer) -> None:
    server.respond = lambda number: (429, {"Retry-After": "1"}, {}) if not number else good(1)
    start = time.monotonic()
    assert ask(server).failure is None
    assert time.monotonic() - start >= 1


def test_what_is_no_profile_is_asked_for_again_and_paid_for(server: TeacherServer) -> None:
    server.respond = lambda number: good(1) if number == 2 else (200, {}, completion("Sure!"))
    reply = ask(server)
    assert (reply.failure, reply.prompt_tokens, reply.answer_tokens) == (None, 300, 30)
    server.respond = lambda _: (200, {}, completion("Sure!"))
    reply = ask(server)
    assert reply.failure == "not in the form of a profile: the form is not there"
    assert reply.text == "Sure!"


@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        ((400, {}, {"error": "too long"}), "status 400: .*too long"),
        ((200, {}, {"choices": []}), "not a chat completion"),
        ((200, {}, []), "not a chat completion"),
        ((200, {}, completion(None)), "an answer without text"),
        ((503, {}, {}), "status 503"),
    ],
)
def test_what_cannot_be_had_is_a_failure(server: TeacherServer, answer: Any, failure: str) -> None:
    server.respond = lambda _: answer
    assert re.match(failure, ask(server, tries=2).failure)


def test_a_server_out_of_reach_is_a_failure() -> None:
    closed = TeacherServer()
    closed._server.server_close()
    assert ask(closed, tries=2).failure.startswith("no answer: ConnectError")


def test_a_failure_is_reported_and_tried_again_by_the_next_run(
    folder: Path, server: TeacherServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server.respond = lambda number: (400, {}, {}) if number == 3 else good(number)
    assert teach(folder, server, "--concurrency", "1", limit=8) == 0
    printed = capsys.readouterr().out
    assert "7 of 8 answers" in printed
    assert "failed: 1 status 400" in printed
    assert "1 are missing" in printed
    (failed,) = rows(folder, "failures.jsonl")
    server.respond = good
    assert teach(folder, server, limit=8) == 0
    assert failed["id"] in {row["id"] for row in rows(folder)}
    assert len(server.requests) == 9


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_wrong_key_ends_the_run_and_is_not_shown(
    folder: Path,
    server: TeacherServer,
    status: int,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TEACHER_KEY", "sk-secret")
    server.respond = lambda _: (status, {}, {"error": "denied"})
    assert teach(folder, server, "--key-variable", "TEACHER_KEY") == 1
    assert server.authorizations[0] == "Bearer sk-secret"
    printed = capsys.readouterr()
    assert f"status {status}" in printed.err
    assert "sk-secret" not in printed.out + printed.err
    assert len(server.requests) <= 8
    assert "sk-secret" not in repr(Teacher(url="u", model="m", key="sk-secret"))
    everything = b"".join(path.read_bytes() for path in (folder.parent / "out").iterdir())
    assert b"sk-secret" not in everything
    monkeypatch.delenv("TEACHER_KEY")
    assert teach(folder, server, "--key-variable", "TEACHER_KEY") == 1
    assert "the environment has no TEACHER_KEY" in capsys.readouterr().err


def test_a_server_that_fails_all_the_time_ends_the_run(
    tmp_path: Path, server: TeacherServer
) -> None:
    server.respond = lambda _: (400, {}, {"error": "no"})
    with pytest.raises(InstructionDataError, match="20 profiles in a row failed, the last with"):
        run(server, tmp_path / "out", 50)
    assert len(server.requests) == GIVE_UP


def test_failures_between_answers_do_not_end_a_run(tmp_path: Path, server: TeacherServer) -> None:
    server.respond = lambda number: (400, {}, {}) if number % 2 else good(number)
    outcome, done = run(server, tmp_path / "out", 2 * GIVE_UP + 4)
    assert len(done) == outcome.failures.total() == GIVE_UP + 2


def test_no_more_requests_are_under_way_than_asked_for(
    tmp_path: Path, server: TeacherServer
) -> None:
    def slowly(number: int) -> tuple[int, dict[str, str], Any]:
        time.sleep(0.02)
        return good(number)

    server.respond = slowly
    _, done = run(server, tmp_path / "out", 24, concurrency=4)
    assert len(done) == 24
    assert server.most_at_once == 4


def test_duplicates_are_counted(
    folder: Path, server: TeacherServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server.respond = lambda _: (200, {}, completion(PROFILE.format("same")))
    assert teach(folder, server, limit=6) == 0
    assert "would keep 1: " in (printed := capsys.readouterr().out)
    assert "near-duplicate 5" in printed


def test_a_request_s_members_can_be_said_and_left_out(folder: Path, server: TeacherServer) -> None:
    body = '{"max_tokens": null, "max_completion_tokens": 90, "seed": 3}'
    assert teach(folder, server, "--body", body, limit=1) == 0
    (request,) = server.requests
    assert set(request) == {"model", "messages", "temperature", "max_completion_tokens", "seed"}


def test_a_sample_is_random_and_grows() -> None:
    whole = prompts(100)
    few = [prompt.id for prompt in sampled(whole, 10, seed=1)]
    assert few == [prompt.id for prompt in sampled(whole[::-1], 20, seed=1)][:10]
    assert few != [prompt.id for prompt in sampled(whole, 10, seed=2)]
    assert few != [prompt.id for prompt in whole[:10]]
    assert len(sampled(whole, None, seed=1)) == 100
