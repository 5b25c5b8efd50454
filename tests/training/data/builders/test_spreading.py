"""`reclm-train data spread`: a teacher's phrases for users whom the teacher never read."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from services.profiles.domain.profile import ProfileText
from tests.training.data.made import READING, dataset, kept
from training import cli
from training.data.builders.spreading import Spread, Spreader, item_vectors, spread_profiles
from training.data.errors import InstructionDataError
from training.data.filters.answers import Kept
from training.rewards.rules import is_well_formed

if TYPE_CHECKING:
    from pathlib import Path

HORROR, ROMANCE = ([f"{name}{number}" for number in range(12)] for name in ("h", "r"))
SCARED = ("night owl", "haunted house guest", "werewolf collector")
CHASED = ("vampires in castles", "screams from cellars", "blood under doors")
TENDER = ("hopeless romantic", "letter writer", "bridal singer")
LOVED = ("kisses on bridges", "weddings by lakes", "second chances")


def histories() -> dict[str, list[str]]:
    """Returns forty users of each taste, with seven of its films each, and two users with both tastes."""
    rng = np.random.default_rng(0)
    found = {
        f"{name}-{number}": [films[at] for at in rng.permutation(12)[:7]]
        for name, films in (("scared", HORROR), ("tender", ROMANCE))
        for number in range(40)
    }
    return found | {"both": ["h0", "r0"], "few": ["r1", "r2"]}


HISTORIES = histories()
LINES = {film: f"Film {film} (1995)" for film in (*HORROR, *ROMANCE)}
SIX = replace(READING, max_items=6)


def teacher_profile(name: str, identities: tuple[str, ...], interests: tuple[str, ...]) -> Kept:
    """Returns a profile of a user, with four films that the teacher read."""
    row = kept(name, [LINES[film] for film in HISTORIES[name][:4]])
    words = ProfileText("user", identities, interests)
    return Kept(replace(row.answer, text=words.text), words)


TEACHER = [
    *(teacher_profile(f"scared-{number}", SCARED, CHASED) for number in range(3)),
    *(teacher_profile(f"tender-{number}", TENDER, LOVED) for number in range(3)),
]


def spread(
    rows: list[Kept] = TEACHER, evaluated: tuple[str, ...] = (), common: int = 2, **options: Any
) -> Spread:
    others = {name: history for name, history in HISTORIES.items() if name not in evaluated}
    left_out = {row.answer.id: "teacher" for row in rows} | dict.fromkeys(
        evaluated, "evaluation prompts"
    )
    chosen = {"users": 100, "fewest": 3, "at_most": 1.0, "seed": 0} | options
    spreader = Spreader(rows, others, LINES, common=common, dimensions=16)
    return spread_profiles(spreader, HISTORIES, LINES, left_out, SIX, **chosen)


def test_who_chose_alike_gets_the_phrases_of_those_whom_the_teacher_read() -> None:
    kept = spread().kept
    assert len(kept) == 74
    for row in kept:
        scared = row.answer.id.startswith("scared")
        assert set(row.words.identities) == set(SCARED if scared else TENDER)
        assert set(row.words.interests) == set(CHASED if scared else LOVED)


def test_what_is_shown_is_a_draw_in_the_order_of_the_history() -> None:
    kept = spread().kept
    assert kept
    for row in kept:
        history = [LINES[film] for film in HISTORIES[row.answer.id]]
        assert row.answer.lines == tuple(line for line in history if line in row.answer.lines)
    assert {len(row.answer.lines) for row in kept} == {3, 4, 5, 6}
    assert any(row.answer.lines[0] != LINES[HISTORIES[row.answer.id][0]] for row in kept)


def test_those_left_out_are_counted() -> None:
    built = spread(evaluated=("scared-9", "tender-0", "nobody"), users=50)
    assert len(built.kept) == 50
    assert built.counts == {
        "teacher": 5,
        "evaluation prompts": 2,
        "too few choices": 2,
        "nothing readable": 0,
        "too few phrases": 0,
        "phrase used enough": 0,
        "not drawn": 23,
    }
    assert not {"scared-9", "tender-0", "scared-0"} & {row.answer.id for row in built.kept}


def test_a_phrase_is_given_to_no_more_than_asked_for() -> None:
    built = spread(users=40, at_most=0.25)
    firsts = Counter(row.words.interests[0] in CHASED for row in built.kept)
    assert firsts == {True: 10, False: 10}
    assert built.counts["phrase used enough"] == 54


def test_users_and_what_is_shown_are_a_draw_that_a_seed_decides() -> None:
    assert spread(users=9) == spread(users=9)
    one, other = ({row.answer.id for row in spread(users=9, seed=n).kept} for n in (0, 1))
    assert one != other


def test_phrases_that_one_profile_has_alone_or_that_say_nothing_are_not_spread() -> None:
    bland = ("movie fan", "film lover", *SCARED[:1])
    odd = [
        teacher_profile("scared-0", ("John Smith", *SCARED[:2]), CHASED),
        teacher_profile("scared-1", (*bland[:2], SCARED[0]), CHASED),
        teacher_profile("scared-2", (*bland[:2], SCARED[1]), CHASED),
        *TEACHER,
    ]
    texts = " ".join(row.words.text for row in spread(odd).kept)
    assert all(phrase in texts for phrase in SCARED)
    assert not any(phrase in texts for phrase in ("John Smith", "movie fan", "film lover"))


def test_phrases_of_fewer_profiles_than_asked_for_are_not_spread() -> None:
    more = [*TEACHER, *(teacher_profile(f"scared-{number}", SCARED, CHASED) for number in (3, 4))]
    kept = spread(more, common=4).kept
    assert all(set(row.words.identities) == set(SCARED) for row in kept)
    assert len(kept) == 72


def test_no_two_phrases_of_a_profile_say_the_same() -> None:
    echo = ("werewolves", "castle visitor", "cellar dweller")
    both = [teacher_profile(row.answer.id, echo, CHASED) for row in TEACHER[:3]]
    texts = [row.words.text for row in spread([*TEACHER, *both, *both]).kept]
    assert texts
    for text in texts:
        assert is_well_formed("user", text)
        assert not ("werewolves" in text and "werewolf" in text)
        assert not ("castle visitor" in text and "vampires in castles" in text)


def test_what_three_say_counts_for_more_than_what_two_say() -> None:
    rare = teacher_profile("scared-3", ("moth breeder", *SCARED[:2]), CHASED)
    twice = [rare, teacher_profile("scared-4", ("moth breeder", *SCARED[:2]), CHASED)]
    rows = [row for row in spread([*TEACHER, *twice]).kept if row.answer.id.startswith("scared")]
    first = Counter(row.words.identities[0] for row in rows)
    assert first["night owl"] > 3 * first["moth breeder"]


def test_users_with_one_choice_are_more_than_those_with_six() -> None:
    sizes = Counter(len(row.answer.lines) for row in spread(fewest=1).kept)
    assert set(sizes) == {1, 2, 3, 4, 5, 6}
    assert sizes[1] > 2 * sizes[6]


def test_too_few_phrases_make_no_row_and_unknown_items_no_profile() -> None:
    built = spread([teacher_profile(f"scared-{n}", SCARED[:3], CHASED[:1] * 3) for n in range(2)])
    assert built.kept == []
    assert built.counts["too few phrases"] == 78
    assert (
        Spreader(TEACHER, HISTORIES, LINES, common=2, dimensions=16).profile(["Heat (1995)"])
        is None
    )


def test_vectors_separate_tastes_and_leave_out_popularity() -> None:
    everybody = {name: [*history, "hit"] for name, history in HISTORIES.items()}
    vectors = item_vectors(everybody, dimensions=1)
    sides = {film: float(np.sign(vectors[film][0])) for film in vectors}
    assert {sides[film] for film in HORROR} != {sides[film] for film in ROMANCE}
    assert len({sides[film] for film in HORROR}) == 1
    assert abs(vectors["hit"][0]) < 0.2 * min(abs(vectors[film][0]) for film in HORROR)


def test_texts_that_the_teacher_did_not_read_and_tiny_datasets_are_refused() -> None:
    with pytest.raises(InstructionDataError, match=r"such as \('Heat \(1995\)',\)"):
        Spreader([kept("scared-0", ["Heat (1995)"])], HISTORIES, LINES, common=2, dimensions=16)
    with pytest.raises(InstructionDataError, match="2 users with 2 items are too few"):
        item_vectors({"a": ["x", "y"], "b": ["x"]}, dimensions=16)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = dataset(HISTORIES)
    made.write(tmp_path / "data")
    (tmp_path / "teacher").mkdir()
    rows = [
        replace(
            row.answer, lines=tuple(f"{film.upper()} | Drama" for film in HISTORIES[row.answer.id])
        ).to_row()
        for row in TEACHER
    ]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "teacher" / "profiles.jsonl").write_text(text)
    (tmp_path / "teacher" / "manifest.json").write_text('{"format": 1, "fingerprint": "f"}')
    (tmp_path / "teacher" / "held-out.jsonl").write_text('{"id": "tender-0", "kind": "user"}\n')
    prompt = [{"role": "user", "content": "Items the user chose:\n- H0 | Drama\n- H1 | Drama"}]
    evaluated = [
        {"id": "scared-9", "kind": "user", "prompt": prompt},
        {"id": "tender-1", "kind": "user"},
        {"id": "r1", "kind": "item", "prompt": prompt},
    ]
    (tmp_path / "evaluation.jsonl").write_text("".join(json.dumps(row) + "\n" for row in evaluated))
    return tmp_path


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def run(folder: Path, *options: str) -> int:
    given = ["--dataset", str(folder / "data"), "--profiles", str(folder / "teacher")]
    out = ["--out", str(folder / "out"), "--common", "2"]
    return cli.main(["data", "spread", *given, *out, *options])


def test_the_command_learns_nothing_of_those_who_will_be_evaluated(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(folder, "--evaluation-prompts", str(folder / "evaluation.jsonl")) == 0
    told = capsys.readouterr().out
    assert "left out: teacher's profile 4, evaluation prompts 3, too few choices 0" in told
    assert "6 phrases to choose from" in told
    rows = [json.loads(line) for line in _lines(folder / "out" / "train.jsonl")]
    assert len(rows) == 75
    assert not {"tender-0", "tender-1", "scared-9"} & {row["id"] for row in rows}
    manifest = json.loads((folder / "out" / "manifest.json").read_text())
    assert manifest["options"] == {
        "users": 1200,
        "fewest": 1,
        "common": 2,
        "dimensions": 16,
        "at_most": 1.0,
        "seed": 0,
    }
    assert manifest["phrases"] == 6  # of the two tender ones, one would have been read alone
    assert len(manifest["evaluation_prompts"]) == 1


def test_the_dimensions_of_the_vectors_can_be_chosen(folder: Path) -> None:
    assert run(folder) == 0
    usual = _lines(folder / "out" / "profiles.jsonl")
    assert run(folder, "--dimensions", "1", "--seed", "0", "--force") == 0
    assert json.loads((folder / "out/manifest.json").read_text())["options"]["dimensions"] == 1
    assert _lines(folder / "out" / "profiles.jsonl") != usual


def test_its_profiles_are_read_as_a_teachers(folder: Path) -> None:
    assert run(folder) == 0
    given = ["--dataset", str(folder / "data"), "--profiles", str(folder / "out")]
    assert cli.main(["data", "preferences", *given, "--out", str(folder / "pairs")]) == 0
    chosen = json.loads(_lines(folder / "pairs" / "reward-train.jsonl")[0])
    row = {row["id"]: row for row in map(json.loads, _lines(folder / "out" / "train.jsonl"))}
    assert chosen["chosen"] == row[chosen["id"]]["completion"]
    assert chosen["prompt"] == row[chosen["id"]]["prompt"]


def test_the_command_says_what_it_would_have_written_of_those_who_will_be_evaluated(
    folder: Path,
) -> None:
    assert run(folder, "--evaluation-prompts", str(folder / "evaluation.jsonl")) == 0
    written = [json.loads(line) for line in _lines(folder / "out" / "evaluation.jsonl")]
    assert [(row["id"], row["kind"]) for row in written] == [("scared-9", "user")]
    assert all(phrase in written[0]["text"] for phrase in (*SCARED, *CHASED))


@pytest.mark.parametrize("prompt", ['"Heat"', "[]", "null", '[{"role": "user"}]'])
def test_a_prompt_that_is_no_chat_is_named(
    folder: Path, capsys: pytest.CaptureFixture[str], prompt: str
) -> None:
    row = f'{{"id": "scared-9", "kind": "user", "prompt": {prompt}}}\n'
    (folder / "evaluation.jsonl").write_text(row)
    assert run(folder, "--evaluation-prompts", str(folder / "evaluation.jsonl")) == 1
    assert "evaluation.jsonl, line 1: prompt is not a chat" in capsys.readouterr().err
    assert not (folder / "out").exists()


def test_the_choices_of_those_who_will_be_evaluated_are_not_learnt_from(folder: Path) -> None:
    evaluated = ["--evaluation-prompts", str(folder / "evaluation.jsonl")]
    assert run(folder, *evaluated) == 0
    before = (folder / "out" / "train.jsonl").read_bytes()
    other = {name: HISTORIES[name] for name in HISTORIES} | {"scared-9": [*ROMANCE, *HORROR]}
    dataset(other).write(folder / "data", replace=True)
    assert run(folder, *evaluated, "--force") == 0
    assert (folder / "out" / "train.jsonl").read_bytes() == before


def test_the_command_refuses_what_contradicts_itself(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(folder, "--fewest", "5", "--max-items", "4") == 1
    assert "--fewest 5 is more than --max-items 4" in capsys.readouterr().err
    assert run(folder, "--fewest", "9") == 1
    assert (
        "nothing is left: teacher's profile 5, evaluation prompts 1, too few choices 76"
        in capsys.readouterr().err
    )
    assert not (folder / "out").exists()
