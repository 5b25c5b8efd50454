from __future__ import annotations

import json
import threading
from dataclasses import asdict, replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy import sparse

from tests.recommenders.data.tiny import dataset
from tests.training.rewards.test_rules import GOOD, ROW
from training.data.rows import Turn
from training.errors import TrainingError
from training.evaluation.behaviour import Behaviour, behaviour
from training.evaluation.comparison import compare, evaluate
from training.evaluation.report import save, table
from training.evaluation.vectors import (
    _PENALTIES,
    Retrieval,
    _directions,
    _left_out,
    _ridge,
    against,
    likenesses,
    named,
    popularity,
    retrieval,
)
from training.evaluation.writers import HeldOut, ServedWriter, Writer, Written, writer
from training.rewards.rules import similarity
from training.runs.progress import ignore

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from recommenders.data.dataset import Dataset


def _held_out(number: int, teacher: str = "") -> HeldOut:
    completion = (Turn(role="assistant", content=teacher),) if teacher else ()
    return HeldOut(id=str(number), prompt=ROW.prompt, completion=completion)


def test_answers_are_evaluated_by_shares_of_all_of_them() -> None:
    copy = GOOD.replace("slow horror", "horror, sci-fi").replace(
        "artificial minds", "robotics 1999"
    )
    answers = [GOOD, GOOD, "no profile", copy]
    found = evaluate([_held_out(number) for number in range(4)], Written(answers))
    assert found.well_formed == 0.5
    assert found.distinct == 0.75
    assert found.to_teacher is None
    assert found.sameness == pytest.approx((1 + 1 + 0 + similarity(copy, [GOOD])) / 4)
    # Two readable answers with the same six phrases, and one that shares four of them.
    assert found.distinct_phrases < 0.6


def test_a_phrase_out_of_the_prompt_is_a_copy() -> None:
    row = HeldOut(id="1", prompt=(Turn(role="user", content="- Lonely Detectives (1999)"),))
    assert evaluate([row], Written([GOOD])).copied == 1
    assert evaluate([_held_out(1)], Written([GOOD])).copied == 0


def _parrot(
    rows: Sequence[HeldOut], *, tokens: int, done: Callable[[int], object] = ignore
) -> Written:
    done(len(rows))
    return Written([GOOD] * len(rows), tokens * len(rows), 0.5)


def test_teacher_and_categories_stand_beside_the_models() -> None:
    rows = [_held_out(1, GOOD), _held_out(2, GOOD)]
    told: list[str] = []
    compared = compare({"parrot": _parrot}, rows, progress=told.append)
    evaluations = compared.evaluations
    assert told == ["parrot: answer 2 of 2, 0:00:00 left"]
    assert list(evaluations) == ["parrot", "teacher", "categories"]
    assert evaluations["teacher"].to_teacher == 1
    assert evaluations["teacher"].tokens is None
    assert evaluations["parrot"].tokens == 96
    assert evaluations["categories"].well_formed == 1
    assert "crime viewer" in compared.answers["categories"][0]
    assert compared.gains == {}
    assert table(evaluations).count("\n") == 4
    without = compare({}, [_held_out(1)])
    assert list(without.evaluations) == ["categories"]


@pytest.mark.parametrize("name", ["teacher", "categories"])
def test_no_model_takes_the_name_of_what_stands_beside_it(name: str) -> None:
    with pytest.raises(TrainingError, match=f"{name} is the name of a baseline"):
        writer(f"{name}=http://127.0.0.1:9")


def test_answers_of_a_file_go_to_the_prompts_of_their_ids(tmp_path: Path) -> None:
    rows = [_held_out(1), _held_out(2), HeldOut(id="1", kind="item", prompt=ROW.prompt)]
    answers = [("2", "user", "two"), ("1", "user", "one"), ("1", "item", "film"), ("3", "user", "")]
    lines = [{"id": id_, "kind": kind, "text": text} for id_, kind, text in answers]
    file = tmp_path / "answers.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    name, read = writer(f"theirs={file}")
    assert name == "theirs"
    assert read(rows, tokens=8) == Written(["one", "two", "film"])
    with pytest.raises(TrainingError, match="has no answer for user 4"):
        read([*rows, _held_out(4)], tokens=8)
    with pytest.raises(TrainingError, match="nor NAME=FILE of answers"):
        writer(f"theirs={tmp_path / 'nowhere'}")


def test_a_server_that_answers_something_else_is_told_of() -> None:
    server = HTTPServer(("127.0.0.1", 0), _Elsewhere)
    threading.Thread(target=server.handle_request).start()
    served = ServedWriter(f"http://127.0.0.1:{server.server_port}", "mine")
    with pytest.raises(TrainingError, match="not answer as an OpenAI-compatible server does"):
        served([_held_out(1)], tokens=4)
    server.server_close()


class _Elsewhere(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        pass


def _prompt(id_: str, *lines: str, kind: str = "user") -> HeldOut:
    content = "Items:\n" + "".join(f"- {line}\n" for line in lines)
    return HeldOut(id=id_, kind=kind, prompt=(Turn(role="user", content=content),))


def _dataset(chosen: dict[str, str]) -> Dataset:
    choices = [(user, item, at) for user, items in chosen.items() for at, item in enumerate(items)]
    return dataset(choices, titles=list(TITLES.values()))


TITLES = {"a": "Alien", "b": "Babe", "c": "Casino", "d": "Dune"}


def test_what_a_prompt_names_is_not_to_be_found() -> None:
    data = _dataset({"1": "abc", "2": "ab", "3": "cd"})
    rows = [_prompt("1", "ALIEN (1979) | Horror"), _prompt("3", "Babe, 1995"), _prompt("9", "Dune")]
    found = behaviour(rows, data)
    assert found.hidden.toarray().tolist() == [[0, 1, 1, 0], [0, 0, 1, 1], [0, 0, 0, 0]]
    assert found.shown.toarray().tolist() == [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]]
    # 1 and 3 share an item; 9 is nobody the data knows.
    assert found.similar == [[1], [0], []]


def test_users_are_like_users_and_items_like_items() -> None:
    data = _dataset({"1": "ab", "2": "ab", "3": "cd"})
    rows = [
        _prompt("1", "x"),
        _prompt("a", "Alien", kind="item"),
        _prompt("2", "x"),
        _prompt("b", "Babe", kind="item"),
    ]
    found = behaviour(rows, data)
    assert found.similar == [[2], [3], [0], [1]]
    assert not found.hidden[[1, 3]].nnz


def _known(hidden: np.ndarray, similar: list[list[int]]) -> Behaviour:
    return Behaviour(
        similar=similar,
        kinds=["user"] * len(hidden),
        hidden=sparse.csr_array(hidden.astype(np.float32)),
        shown=sparse.csr_array(hidden.shape, dtype=np.float32),
    )


def test_smoothing_shows_where_new_users_are_as_like_as_neighbours() -> None:
    groups = np.repeat(np.eye(3, dtype=np.float32), 2, axis=0)
    similar = [[1], [0], [3], [2], [5], [4]]
    known = _known(np.zeros((6, 4)), similar)
    sharp = likenesses(groups, np.zeros_like(groups), known)
    assert (sharp.teacher, sharp.similar, sharp.others) == (None, 1, 0)
    smooth = likenesses(np.tile(groups[:1], (6, 1)), groups, known)
    assert (smooth.similar, smooth.others) == (1, 1)
    assert smooth.teacher == pytest.approx(1 / 3)


def test_profiles_that_separate_tastes_find_more_than_popularity() -> None:
    rng = np.random.default_rng(0)
    taste = rng.integers(0, 4, 60)
    # Each taste has forty items of its own, of which a user chose ten.
    hidden = np.zeros((60, 160))
    for user, group in enumerate(taste):
        hidden[user, group * 40 + rng.permutation(40)[:10]] = 1
    vectors = (np.eye(4, dtype=np.float32)[taste] + 0.01).astype(np.float32)
    known = _known(hidden, [[] for _ in taste])
    least, found = popularity(known), retrieval(vectors, known)
    assert least is not None
    assert found is not None
    assert found.recall > 0.4
    assert least < 0.2
    assert found.beyond == pytest.approx(found.recall - least)
    assert 0 < found.margin < found.beyond
    shuffled = retrieval(rng.permutation(vectors), known)
    assert shuffled is not None
    assert shuffled.recall < 0.25
    assert abs(shuffled.beyond) < 2 * shuffled.margin
    assert retrieval(vectors[:9], _known(hidden[:9], [[] for _ in range(9)])) is None


def test_models_are_held_against_the_first_user_by_user(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    taste = rng.integers(0, 4, 60)
    hidden = np.zeros((60, 160))
    for user, group in enumerate(taste):
        hidden[user, group * 40 + rng.permutation(40)[:10]] = 1
    rows = [_held_out(number) for number in range(60)]

    def says(words: Sequence[int]) -> Writer:
        return lambda rows, *, tokens, done=ignore: Written(["abcd"[word] for word in words])

    compared = compare(
        {"blank": says([0] * 60), "taste": says(taste), "guess": says(rng.permutation(taste))},
        rows,
        encode=_letters,
        behaviour=_known(hidden, [[] for _ in rows]),
    )
    assert list(compared.gains) == ["taste", "guess"]
    gain = compared.gains["taste"]
    each = {name: one.retrieval for name, one in compared.evaluations.items()}
    assert gain.recall == each["taste"]
    assert each["blank"] is not None
    assert gain.beyond == pytest.approx(gain.recall - each["blank"])
    assert gain.beyond > 2 * gain.margin
    assert abs(compared.gains["guess"].beyond) < 2 * compared.gains["guess"].margin
    save(tmp_path, rows, compared, notes=[])
    saved = json.loads((tmp_path / "compare.json").read_text())["gains"]
    assert saved["taste"] == {"over": "blank", **asdict(gain)}


@pytest.mark.parametrize("penalty", [0.03, 10.0])
@pytest.mark.parametrize("width", [1, 5, 12])
def test_what_is_left_without_a_user_is_what_a_fit_without_that_user_leaves(
    width: int, penalty: float
) -> None:
    rng = np.random.default_rng(0)
    known, chosen = rng.standard_normal((9, width)), rng.standard_normal((9, 4))
    basis, stretch, directions = _directions(known - known.mean(axis=0))
    assert len(stretch) == min(8, width)
    np.testing.assert_allclose(basis * stretch @ directions.T, known - known.mean(axis=0))
    centred = chosen - chosen.mean(axis=0)
    left = _left_out(centred, basis, stretch, basis.T @ centred, penalty)
    for user in range(9):
        others = np.delete(known, user, axis=0), np.delete(chosen, user, axis=0)
        centre, mean = others[0].mean(axis=0), others[1].mean(axis=0)
        read = others[0] - centre
        solved = np.linalg.solve(
            read.T @ read + penalty * np.eye(width), read.T @ (others[1] - mean)
        )
        expected = chosen[user] - mean - (known[user] - centre) @ solved
        np.testing.assert_allclose(left[user], expected)


@pytest.mark.parametrize("signal", [0.0, 0.3, 3.0])
def test_the_map_is_the_one_that_leaves_least_of_users_it_was_not_fitted_on(signal: float) -> None:
    rng = np.random.default_rng(0)
    known, asked = rng.standard_normal((30, 5)), rng.standard_normal((4, 5))
    chosen = signal * known @ rng.standard_normal((5, 7)) + rng.standard_normal((30, 7))

    def solved(others: list[int], penalty: float, read: np.ndarray) -> np.ndarray:
        centre, mean = known[others].mean(axis=0), chosen[others].mean(axis=0)
        centred = known[others] - centre
        products = centred.T @ centred + penalty * np.eye(5)
        weights = np.linalg.solve(products, centred.T @ (chosen[others] - mean))
        return np.asarray(mean + (read - centre) @ weights)

    everyone = list(range(30))
    errors = [
        np.mean(
            [
                (
                    chosen[user]
                    - solved(everyone[:user] + everyone[user + 1 :], penalty, known[user])
                )
                ** 2
                for user in everyone
            ]
        )
        for penalty in _PENALTIES
    ]
    best = _PENALTIES[int(np.argmin(errors))]
    assert (best >= 100) == (signal == 0)
    np.testing.assert_allclose(_ridge(known, chosen, asked), solved(everyone, best, asked))


def test_differences_are_taken_user_by_user() -> None:
    found = against(np.array([0.1, 0.5, 0.9]), np.array([0.0, 0.2, 0.7]))
    # Of 0.1, 0.3 and 0.2: a deviation of 0.1.
    assert found.recall == pytest.approx(0.5)
    assert found.beyond == pytest.approx(0.2)
    assert found.margin == pytest.approx(1.96 * 0.1 / 3**0.5)


def test_profiles_that_differ_by_chance_are_held_back_to_popularity() -> None:
    rng = np.random.default_rng(0)
    hidden = (rng.random((300, 80)) < np.linspace(0.05, 0.5, 80)).astype(float)
    vectors = rng.standard_normal((300, 30)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    found = retrieval(vectors, _known(hidden, [[] for _ in hidden]))
    assert found is not None
    assert abs(found.beyond) < 0.005


def test_what_prompts_name_is_evaluated_as_it_is() -> None:
    """Of four tastes, a prompt names one item; whoever chose it chose the others of that taste."""
    rng = np.random.default_rng(0)
    taste = rng.integers(0, 4, 60)
    hidden, shown = np.zeros((60, 160)), np.zeros((60, 160), np.float32)
    for user, group in enumerate(taste):
        hidden[user, group * 40 + 1 + rng.permutation(39)[:10]] = 1
        shown[user, group * 40] = 1
    known = replace(_known(hidden, [[] for _ in taste]), shown=sparse.csr_array(shown))
    found = named(known)
    assert found is not None
    assert found.beyond > 2 * found.margin
    assert named(replace(known, shown=sparse.csr_array(shown[:, ::-1] * 0))) == Retrieval(
        pytest.approx(popularity(known)), 0, 0
    )


def test_what_is_shown_is_not_ranked() -> None:
    """All users chose the same twenty: found by popularity, unless they stand in the prompts."""
    hidden = np.zeros((20, 60))
    hidden[:, 20:40] = 1
    known = _known(hidden, [[] for _ in hidden])
    shown = np.zeros((20, 60), np.float32)
    shown[:, 20:40] = 1
    assert popularity(known) == 1
    assert popularity(replace(known, shown=sparse.csr_array(shown))) == 0


def test_the_page_has_plots_and_profiles_side_by_side(tmp_path: Path) -> None:
    rows = [_held_out(1, GOOD), _held_out(2, GOOD)]

    def write(
        rows: Sequence[HeldOut], *, tokens: int, done: Callable[[int], object] = ignore
    ) -> Written:
        del tokens, done
        return Written(["<script>alert(1)</script>"] * len(rows), 8, 1.0)

    compared = compare({"mine": write}, rows, encode=_letters)
    evaluations = compared.evaluations
    save(tmp_path / "out", rows, compared, notes=["two prompts"])
    page = (tmp_path / "out/compare.html").read_text()
    assert "<script>" not in page
    assert page.count("<svg") == sum(line.count("--:") for line in table(evaluations).splitlines())
    assert page.count(GOOD.split(";")[0]) == 2
    document = json.loads((tmp_path / "out/compare.json").read_text())
    assert document["profiles"][0]["teacher"] == GOOD
    assert document["models"]["teacher"]["cosine_to_teacher"] == pytest.approx(1)
    assert document["models"]["mine"]["cosine_to_teacher"] < 0.9
    assert (tmp_path / "out/compare.md").read_text().endswith("\n- two prompts\n")


def _letters(texts: Sequence[str]) -> np.ndarray:
    """Counts letters, as a vector of unit length."""
    counts = np.array(
        [[text.casefold().count(chr(97 + at)) for at in range(26)] for text in texts], np.float32
    )
    return counts / np.maximum(np.linalg.norm(counts, axis=1, keepdims=True), 1e-9)
