"""The contract of a builder, over every entry of the registry."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.training.data.made import dataset
from training import cli
from training.commands.builders.registry import BUILDERS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

FILMS = [f"f{number}" for number in range(12)]
USERS = [f"u{number}" for number in range(20)]
OTHERS = [f"v{number}" for number in range(6)]
"""Users without a teacher's profile."""

_WORDS = [f"{first}{vowel}{first}o" for first in "bdfgklmnpr" for vowel in "aeiou"]

ARGUMENTS: Mapping[str, Sequence[str]] = {
    "teacher": ("--held-out", "0.3"),
    "neighbours": ("--kind", "user"),
    "collaborative": (),
    "preferences": (),
    "unseen": ("--max-items", "3", "--hidden", "2"),
    "spread": ("--common", "1"),
}
READ_NO_PROFILES = {"teacher", "neighbours"}
DRAW_NOTHING = {"neighbours"}
NAME_OTHERS = {"neighbours", "unseen"}
"""Builders whose rows may be of held-out users: they hold none of their profiles."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset, a teacher's answers about most of its users, and the pairs made of these."""
    folder = tmp_path_factory.mktemp("builders")
    rng = np.random.default_rng(0)
    chosen = {user: rng.permutation(FILMS)[:8].tolist() for user in (*USERS, *OTHERS)}
    dataset(chosen).write(folder / "data")
    answers = [
        {
            "id": user,
            "kind": "user",
            "text": profile(user),
            "lines": [f"{film.upper()} | Drama" for film in chosen[user][:5]],
            "neighbours": [],
            "source": "test",
        }
        for user in USERS
    ]
    (folder / "answers.jsonl").write_text("\n".join(json.dumps(row) for row in answers))
    assert build(folder, "teacher") == folder / "teacher"
    return folder


def profile(user: str) -> str:
    """Returns a profile of six phrases without a word in common."""
    start = 7 * USERS.index(user)
    words = [_WORDS[(start + number) % len(_WORDS)] for number in range(12)]
    phrases = [" ".join(words[number : number + 2]) for number in range(0, 12, 2)]
    return f"User identity: {', '.join(phrases[:3])}; User interests: {', '.join(phrases[3:])}."


def build(folder: Path, builder: str, *more: str, out: str | None = None) -> Path:
    target = folder / (out or builder)
    given = ["data", builder, "--out", str(target), *ARGUMENTS[builder], *more]
    if builder == "teacher":
        given[2:2] = ["answers", str(folder / "answers.jsonl")]
    else:
        given += ["--dataset", str(folder / "data")]
    if builder not in READ_NO_PROFILES:
        given += ["--profiles", str(folder / "teacher")]
    assert cli.main(given) == 0
    return target


def rows(folder: Path) -> list[dict[str, Any]]:
    return [
        json.loads(line)
        for path in sorted(folder.glob("*.jsonl"))
        for line in path.read_text(encoding="utf-8").splitlines()
    ]


def manifest(folder: Path) -> Any:
    return json.loads((folder / "manifest.json").read_text())


def test_each_builder_has_arguments_for_these_tests() -> None:
    assert set(ARGUMENTS) == set(BUILDERS)


@pytest.mark.parametrize("builder", BUILDERS)
def test_a_second_build_is_the_same(folder: Path, builder: str) -> None:
    first, again = (build(folder, builder, out=f"{builder}-{name}") for name in ("one", "two"))
    assert rows(first)
    assert rows(first) == rows(again)
    assert manifest(first) == manifest(again)
    assert manifest(first)["builder"] == builder


@pytest.mark.parametrize("builder", sorted(set(BUILDERS) - DRAW_NOTHING))
def test_another_seed_makes_another_fingerprint(folder: Path, builder: str) -> None:
    seeds = [build(folder, builder, "--seed", seed, out=f"{builder}-{seed}") for seed in ("0", "1")]
    first, other = (manifest(out)["fingerprint"] for out in seeds)
    assert first != other


@pytest.mark.parametrize("builder", BUILDERS)
def test_nothing_is_replaced_without_force(
    folder: Path, builder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = build(folder, builder, out=f"{builder}-kept")
    before = manifest(out)
    with pytest.raises(AssertionError):
        build(folder, builder, out=out.name)
    assert "--force replaces it" in capsys.readouterr().err
    build(folder, builder, "--force", out=out.name)
    assert manifest(out) == before


@pytest.mark.parametrize("builder", sorted(set(BUILDERS) - READ_NO_PROFILES))
def test_no_builder_reads_a_held_out_user_s_profile(folder: Path, builder: str) -> None:
    lines = (folder / "teacher" / "held-out.jsonl").read_text().splitlines()
    held_out = {json.loads(line)["id"] for line in lines}
    assert held_out
    built = rows(build(folder, builder, out=f"{builder}-held"))
    named = {name for row in built for name in (row["id"], *_ids(row.get("neighbours", ())))}
    assert named
    if builder not in NAME_OTHERS:
        assert not held_out & named
    text = json.dumps(built)
    assert not any(profile(name) in text for name in held_out)


def _ids(neighbours: Sequence[str]) -> list[str]:
    return [name for name in neighbours if name in USERS]
