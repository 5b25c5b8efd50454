"""Profiles of the release, with the lines that its teacher read."""

from __future__ import annotations

import csv
import json
import os
import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.training.data.made import dataset
from training.data.errors import InstructionDataError
from training.data.filters.answers import filter_answers, filter_prose
from training.data.teacher.released import (
    RELEASES,
    read_gear_answers,
    read_release_items,
    read_release_users,
)

if TYPE_CHECKING:
    from recommenders.data.dataset import Dataset

SHARED = Path(
    os.environ.get("RECLM_TEST_DATA")
    or Path(__file__).resolve().parents[4].parent / "shared" / "data"
)
RELEASE = SHARED / "reclm-release"
PROFILE = "User identity: a b, c d, e f; User interests: g h, i j, k l."
MOVIES = (
    "Now you are a user profile generator. Here is the list of previously watched movies: {} "
    "Please provide the profile strictly in the following format: User identity: [Identity 1]"
)
NEWS = "Here is the list of previously clicked news articles: {} Please provide the profile"


def release(folder: Path, name: str, prompts: list[str]) -> Path:
    place = folder / "sft_data" / name
    place.mkdir(parents=True)
    with (place / f"{name}_fine_tune.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["UID", "Input", "Response"])
        table.writerows([str(number), prompt, PROFILE] for number, prompt in enumerate(prompts))
    return folder


def test_films_become_the_lines_that_the_service_would_show(tmp_path: Path) -> None:
    listed = """['year': 1992, 'title': '8 Man'] ['year': 1986, 'title': "Ferris Bueller's Day"]"""
    (row,) = read_release_users(release(tmp_path, "netflix", [MOVIES.format(listed)]), "netflix")
    assert (row.id, row.kind, row.text, row.source) == ("0", "user", PROFILE, "reclm-netflix")
    assert row.lines == ("8 Man (1992)", "Ferris Bueller's Day (1986)")


def test_news_keeps_categories_and_abstract_whatever_brackets_are_in_it(tmp_path: Path) -> None:
    listed = (
        "['cate': 'sports', 'sub_cate': 'golf', 'title': 'Who [really] won', 'abstract': ''] "
        "['cate': 'news', 'sub_cate': '', 'title': 'Sky', 'abstract': 'Look [up] now.']"
    )
    (row,) = read_release_users(release(tmp_path, "mind", [NEWS.format(listed)]), "mind")
    assert row.lines == ("Who [really] won | sports, golf", "Sky | news | Look [up] now.")


@pytest.mark.parametrize(
    "listed",
    ["", "['year': 1992, 'title': __import__('os').system('true')]", "['year': 1992, 'name': 'x']"],
)
def test_a_prompt_that_cannot_be_read_is_named(tmp_path: Path, listed: str) -> None:
    folder = release(tmp_path, "netflix", [MOVIES.format(listed)])
    with pytest.raises(InstructionDataError, match=r"netflix_fine_tune\.csv, row 1: "):
        list(read_release_users(folder, "netflix"))


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(InstructionDataError, match=r"mind_fine_tune\.csv is missing"):
        list(read_release_users(tmp_path, "mind"))
    place = release(tmp_path, "mind", []) / "sft_data" / "mind"
    (place / "mind_fine_tune.csv").write_text("UID,Input\n1,x\n")
    with pytest.raises(InstructionDataError, match="row 1: UID, Input or Response is missing"):
        list(read_release_users(tmp_path, "mind"))


def test_items_are_read_with_their_neighbours_the_first_last(tmp_path: Path) -> None:
    place = tmp_path / "data" / "netflix"
    place.mkdir(parents=True)
    item = "['year': 1992, 'title': '8 Man']"
    row = {
        "input": f"The information of the item is as follows: {item}.Here is the list of user",
        "output": PROFILE,
    }
    files: dict[str, Any] = {
        "gpt_output_dict_item_side_filter": {7: row},
        "item_info_dict": {number: {"title": f"T{number}", "year": 2000} for number in (7, 8, 9)},
        "self_instruction_dict_item": {7: [8, 9, 99]},
    }
    for name, content in files.items():
        (place / f"{name}.pkl").write_bytes(pickle.dumps(content))
    (answer,) = read_release_items(tmp_path, "netflix")
    assert (answer.id, answer.kind) == ("7", "item")
    assert answer.text == "Item identity: a b, c d, e f; Item interests: g h, i j, k l."
    assert answer.lines == ("8 Man (1992)",)
    assert answer.neighbours == ("T9 (2000)", "T8 (2000)")
    (place / "self_instruction_dict_item.pkl").unlink()
    assert next(iter(read_release_items(tmp_path, "netflix"))).neighbours == ()


def test_gear_rec_s_paragraphs_come_with_the_history(tmp_path: Path) -> None:
    (tmp_path / "user_map.txt").write_text("5 0\n6 1\n")
    path = tmp_path / "llm_response_user.json"
    path.write_text(json.dumps({"0": "Favours drama.", "1": "Favours crime."}))
    known = dataset({"5": ["a", "b", "c"], "6": ["b"]})
    first, second = read_gear_answers(path, known, limit=2)
    assert (first.id, first.text, first.lines) == (
        "5",
        "Favours drama.",
        ("B | Drama", "C | Drama"),
    )
    assert second.lines == ("B | Drama",)
    with pytest.raises(InstructionDataError, match="dataset 'tiny' lacks user 6"):
        list(read_gear_answers(path, dataset({"5": ["a"]}), limit=2))


@pytest.mark.parametrize("name", RELEASES)
def test_the_release_itself_is_read_and_its_junk_found(name: str) -> None:
    if not RELEASE.is_dir():
        pytest.skip(f"{RELEASE} is not there; RECLM_TEST_DATA may name another place")
    users, items = list(read_release_users(RELEASE, name)), list(read_release_items(RELEASE, name))
    assert (len(users), len(items)) == {"mind": (1694, 892), "netflix": (1530, 1071)}[name]
    assert all(row.lines and all(row.lines) for row in (*users, *items))
    found = filter_answers(users)
    assert found.dropped["placeholder"] == {"mind": 1, "netflix": 8}[name]
    assert len(found.kept) + sum(found.dropped.values()) == len(users)


def test_gear_rec_s_own_profiles_are_read() -> None:
    folder = SHARED / "ml-1m"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there; RECLM_TEST_DATA may name another place")
    from recommenders.data.readers.gear_rec import read_gear_rec

    whole: Dataset = read_gear_rec(folder)
    kept, dropped = filter_prose(
        read_gear_answers(folder / "llm_response_item.json", whole, limit=5)
    )
    assert len(kept) + sum(dropped.values()) == 3260
    assert not filter_answers(kept).kept  # paragraphs are not in the form
