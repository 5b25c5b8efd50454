"""`reclm-train data`: from a dataset's folder to the folders that trainers read."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from services.profiles.generation.grammar import parse
from services.profiles.generation.prompts.base import component
from services.profiles.generation.prompts.registry import CURRENT, PROMPTS
from services.profiles.settings import Settings
from tests.services.profiles.generation.prompts.versions import ProfileV2
from tests.training.data.made import dataset, words
from training import cli
from training.commands.arguments import HISTORY_TOKENS
from training.data.filters.repetition import repetitive
from training.data.sources import fingerprint, read_training_part

if TYPE_CHECKING:
    from pathlib import Path

FILMS = [f"f{number}" for number in range(12)]
USERS = [f"u{number}" for number in range(20)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    dataset({user: rng.permutation(FILMS)[:8].tolist() for user in USERS}).write(tmp_path / "data")
    answers = [
        {
            "id": user,
            "kind": "user",
            "text": words(user).text,
            "lines": ["Heat (1995)"],
            "neighbours": [],
            "source": "test",
        }
        for user in USERS
    ]
    text = "\n".join(json.dumps(row) for row in answers)
    (tmp_path / "answers.jsonl").write_text(text)
    return tmp_path


def run(folder: Path, builder: str, *options: str, out: str | None = None) -> int:
    if builder.startswith("teacher"):
        given = ["teacher", "answers", str(folder / "answers.jsonl")]
    else:
        given = [builder, "--dataset", str(folder / "data")]
    if builder in {"collaborative", "preferences"}:
        given += ["--profiles", str(folder / "teacher")]
    return cli.main(["data", *given, "--out", str(folder / (out or builder)), *options])


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def manifest(folder: Path) -> Any:
    return json.loads((folder / "manifest.json").read_text())


def test_a_teacher_s_answers_become_pairs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folder, "teacher", "--held-out", "0.3") == 0
    train, held = (lines(folder / "teacher" / f"{name}.jsonl") for name in ("train", "held-out"))
    assert len(train) + len(held) == len(USERS)
    assert train
    assert held
    about = manifest(folder / "teacher")
    assert about["dropped"]["malformed"] == 0
    assert about["prompt"]["hash"] == component(CURRENT, examples=False).hash
    assert about["files"]["train.jsonl"]["rows"] == len(train)
    assert f"fingerprint: {about['fingerprint']}" in capsys.readouterr().out


@pytest.mark.parametrize("builder", ["teacher", "collaborative"])
def test_a_builder_uses_the_version_of_the_prompt_that_is_named(
    builder: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = ProfileV2()
    monkeypatch.setitem(PROMPTS, later.name, later)
    if builder == "collaborative":
        assert run(folder, "teacher") == 0
    assert run(folder, builder, "--prompt", later.name, out="later") == 0
    about = manifest(folder / "later")
    expected = component(later, examples=False)
    assert (about["prompt"]["name"], about["prompt"]["hash"]) == (expected.name, expected.hash)
    file = {"teacher": "train", "collaborative": "samples"}[builder]
    rows = lines(folder / "later" / f"{file}.jsonl")
    chats = [row.get("messages") or row["prompt"] for row in rows]
    assert {chat[0]["content"] for chat in chats} == {"Write a profile in other words."}


def test_whose_answers_were_dropped_can_be_asked_of_a_model(folder: Path) -> None:
    answers = lines(folder / "answers.jsonl")
    answers[4]["text"] = answers[7]["text"] = "no profile"
    answers[7]["lines"] = []  # nothing to read
    answers += [answers[4], answers[0] | {"text": "no profile"}]
    (folder / "answers.jsonl").write_text("\n".join(json.dumps(row) for row in answers))
    assert run(folder, "teacher") == 0
    (row,) = lines(folder / "teacher" / "unanswered.jsonl")
    assert (row["id"], row["kind"], row["source"]) == (USERS[4], "user", "test")
    assert "Heat (1995)" in row["prompt"][-1]["content"]
    assert "completion" not in row


def test_the_blandest_rows_are_not_trained_on_and_no_other_file_changes(folder: Path) -> None:
    assert run(folder, "teacher", "--held-out", "0.3") == 0
    assert run(folder, "teacher", "--held-out", "0.3", "--rarest", "0.5", out="rare") == 0
    whole, rare = (lines(folder / name / "train.jsonl") for name in ("teacher", "rare"))
    assert len(rare) == round(len(whole) / 2) > 0
    assert [row for row in whole if row in rare] == rare
    for name in ("held-out.jsonl", "profiles.jsonl"):
        assert lines(folder / "rare" / name) == lines(folder / "teacher" / name)
    assert manifest(folder / "rare")["bland"] == len(whole) - len(rare)


def test_rows_that_say_a_thing_twice_are_left_out_before_the_blandest(folder: Path) -> None:
    answers = lines(folder / "answers.jsonl")
    for row in answers[::3]:
        row["text"] = row["text"].replace("interest one", "identity")
    (folder / "answers.jsonl").write_text("\n".join(json.dumps(row) for row in answers))
    assert run(folder, "teacher", "--held-out", "0.3") == 0
    options = ("--held-out", "0.3", "--no-repetitive")
    assert run(folder, "teacher", *options, out="plain") == 0
    assert run(folder, "teacher", *options, "--rarest", "0.5", out="rare") == 0
    whole, plain, rare = (
        lines(folder / name / "train.jsonl") for name in ("teacher", "plain", "rare")
    )
    said = [parse("user", row["completion"][0]["content"]) for row in whole]
    assert plain == [row for row, out in zip(whole, repetitive(said), strict=True) if not out]
    assert manifest(folder / "plain")["repetitive"] == len(whole) - len(plain) > 0
    assert len(rare) == round(len(plain) / 2) > 0
    for name in ("held-out.jsonl", "profiles.jsonl"):
        assert lines(folder / "plain" / name) == lines(folder / "teacher" / name)


def test_conversations_and_pairs_are_written(folder: Path) -> None:
    assert run(folder, "teacher") == 0
    assert run(folder, "collaborative", "--similar", "3", "--rehearse", "1") == 0
    samples = lines(folder / "collaborative" / "samples.jsonl")
    talks = [row for row in samples if "neighbours" in row]
    assert talks
    assert all(len(row["neighbours"]) == 3 for row in talks)
    pairs_by_id = {row["id"]: row for row in lines(folder / "teacher" / "train.jsonl")}
    rehearsed = [row for row in samples if "neighbours" not in row]
    assert len(rehearsed) == len(talks) < len(pairs_by_id)
    for row in rehearsed:
        pair = pairs_by_id[row["id"]]
        assert row["messages"] == [*pair["prompt"], *pair["completion"]]
    assert manifest(folder / "collaborative")["rehearsed"] == len(rehearsed)
    assert run(folder, "collaborative", "--similar", "3", "--rehearse", "0", out="paper") == 0
    assert lines(folder / "paper" / "samples.jsonl") == talks
    assert run(folder, "collaborative", "--similar", "3", out="usual") == 0
    usual = lines(folder / "usual" / "samples.jsonl")
    assert {row["id"] for row in usual[len(talks) :]} == set(pairs_by_id), (
        "four a talk: all there are"
    )
    half = ("--share", "neighbour=0.5", "--share", "full stop=0.5", "--parts", "0.5,0.5,0")
    assert run(folder, "preferences", *half) == 0
    pairs = lines(folder / "preferences" / "reward-train.jsonl")
    assert sorted({row["corruption"] for row in pairs}) == ["full stop", "neighbour"]
    assert len(pairs) == 9, "of the 18 users who are not held out"
    assert not lines(folder / "preferences" / "rl.jsonl")


def test_neighbours_come_from_a_bundle_s_vectors(folder: Path) -> None:
    bundle = folder / "bundle"
    bundle.mkdir()
    pq.write_table(pa.table({"user_id": USERS[:4]}), bundle / "users.parquet")
    vectors = np.asarray([[1, 0], [0, 1], [1, 0.1], [0.2, 1]], np.float32)
    np.save(bundle / "user_vectors.npy", vectors)
    options = ("--kind", "user", "--vectors", str(bundle), "--limit", "1")
    assert run(folder, "neighbours", *options) == 0
    found = {row["id"]: row["neighbours"] for row in lines(folder / "neighbours/neighbours.jsonl")}
    assert found == {"u0": ["u2"], "u1": ["u3"], "u2": ["u0"], "u3": ["u1"]}
    assert manifest(folder / "neighbours")["by"] == "cosine of the vectors of bundle"
    assert run(folder, "neighbours", "--kind", "item", out="items") == 0
    assert len(lines(folder / "items" / "neighbours.jsonl")) == len(FILMS)


def test_a_split_leaves_what_is_tested_on_unread(folder: Path) -> None:
    whole = read_training_part(folder / "data", None)
    train = read_training_part(folder / "data", "leave-last-out,test=1")
    assert (whole.interactions.num_rows, train.interactions.num_rows) == (160, 120)
    assert {len(history) for history in train.histories().values()} == {6}
    assert fingerprint(whole) != fingerprint(train)
    chunked = pa.concat_tables([whole.interactions.slice(0, 7), whole.interactions.slice(7)])
    assert fingerprint(type(whole)(whole.info, whole.items, chunked)) == fingerprint(whole)
    assert run(folder, "teacher") == 0
    assert run(folder, "collaborative", "--split", "leave-last-out") == 0
    assert manifest(folder / "collaborative")["dataset"]["fingerprint"] == fingerprint(train)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["seed"], "seed needs --dataset"),
        (["ml-1m-gear", "x"], "ml-1m-gear needs --dataset"),
        (["reclm-mind"], "needs the path"),
        (["answers", "nowhere"], "nowhere is missing"),
    ],
)
def test_what_a_teacher_lacks_is_told(
    tmp_path: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["data", "teacher", *arguments, "--out", str(tmp_path / "out")]) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_nothing_left_is_an_error_that_says_why(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(folder, "teacher", "--kind", "item") == 1
    assert "nothing is left: placeholder 0, malformed 0" in capsys.readouterr().err
    assert run(folder, "teacher") == 0
    assert run(folder, "teacher") == 1
    assert "--force" in capsys.readouterr().err


@pytest.mark.parametrize(
    "options",
    [
        ["--share", "neighbour"],
        ["--share", "neighbour=2"],
        ["--parts", "1,0"],
        ["--seed", "-1"],
        ["--limit", "0"],
    ],
)
def test_wrong_usage_exits_with_2(folder: Path, options: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        run(folder, "preferences", *options)
    assert caught.value.code == 2


def test_the_budget_is_the_service_s() -> None:
    assert Settings.model_fields["history_tokens"].default == HISTORY_TOKENS
