"""The release's files in miniature: pickled dicts and matrices, some of them missing."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy import sparse

from recommenders.data.errors import DatasetError
from recommenders.data.readers.reclm import (
    read_profile_vectors,
    read_reclm_mind,
    read_reclm_netflix,
    read_teacher_profiles,
)

if TYPE_CHECKING:
    from pathlib import Path


def matrix(pairs: list[tuple[int, int]], shape: tuple[int, int]) -> sparse.coo_matrix:
    users, columns = zip(*pairs, strict=True)
    return sparse.coo_matrix((np.ones(len(pairs)), (users, columns)), shape=shape)


def news(title: str, **changes: str) -> dict[str, str]:
    whole = {"cate": "health", "sub_cate": "diet", "title": title, "abstract": f"On {title}."}
    return whole | changes


# Items 10 and 12 are known from training, 11 and 13 are new in the test period.
MIND: dict[str, Any] = {
    "item_info_dict": {
        12: news("C"),
        10: news("A", sub_cate="", abstract=""),
        11: news("B"),
        13: news("D"),
    },
    "item_id_map_train": {10: 0, 12: 1},
    "trnMat_zero": matrix([(0, 0), (1, 1), (2, 0)], (3, 2)),
    "item_id_map_test": {10: 0, 11: 1, 12: 2, 13: 3},
    "tstMat_zero_": matrix([(1, 0), (0, 2), (0, 1), (2, 3)], (3, 4)),
    "item_id_map_zero": {11: 0, 13: 1},
    "tstMat_zero_shot": matrix([(2, 1), (0, 0)], (3, 2)),
}
PARTS = {
    "train": {("0", "10"), ("1", "12"), ("2", "10")},
    "warm/test": {("1", "10"), ("0", "12")},
    "cold-items/test": {("0", "11"), ("2", "13")},
}
NETFLIX: dict[str, Any] = {
    "item_info_dict": {0: {"year": 1992, "title": "8 Man"}, 1: {"year": 1947, "title": "Brunette"}},
    "user_item_dict_test": {7: [0, 1], 3: [1], 4: []},
    "item_id_map_zero": {1: 0},
}


def written(folder: Path, name: str, files: dict[str, Any], **changes: Any) -> Path:
    """Writes files of the release; a change to None leaves one out."""
    place = folder / "data" / name
    place.mkdir(parents=True)
    for file, value in {**files, **changes}.items():
        if value is not None:
            (place / f"{file}.pkl").write_bytes(pickle.dumps(value, 4))
    return folder


def parts(table: Any) -> dict[str, set[tuple[str, str]]]:
    found: dict[str, set[tuple[str, str]]] = {}
    for row in table.to_pylist():
        found.setdefault(row["part"], set()).add((row["user_id"], row["item_id"]))
    return found


def test_the_test_is_divided_by_what_training_knows(tmp_path: Path) -> None:
    told: list[str] = []
    dataset = read_reclm_mind(written(tmp_path, "mind", MIND), notice=told.append)
    assert dataset.items.to_pydict() == {
        "item_id": ["10", "11", "12", "13"],
        "title": ["A", "B", "C", "D"],
        "category": ["health", "health, diet", "health, diet", "health, diet"],
        "description": ["", "On B.", "On C.", "On D."],
    }
    assert dataset.interactions.num_rows == 7
    assert parts(dataset.interactions) == PARTS
    assert set(dataset.interactions["timestamp"].to_pylist()) == {0}
    (notice,) = told
    assert "maskMat_zero.pkl, self_instruction_dict.pkl" in notice
    assert "trnMat" not in notice


@pytest.mark.parametrize(
    ("missing", "expected"),
    [
        (["tstMat_zero_shot", "item_id_map_zero"], PARTS),
        (["tstMat_zero_"], {name: PARTS[name] for name in ("train", "cold-items/test")}),
    ],
)
def test_what_is_there_suffices_where_it_can(
    tmp_path: Path, missing: list[str], expected: dict[str, set[tuple[str, str]]]
) -> None:
    told: list[str] = []
    folder = written(tmp_path, "mind", MIND, **dict.fromkeys(missing))
    dataset = read_reclm_mind(folder / "data" / "mind", notice=told.append)
    assert parts(dataset.interactions) == expected
    assert all(f"{name}.pkl" in told[0] for name in missing)
    split = dataset.info.split or ""
    assert all(f"{name}.pkl" not in split for name in missing)


def test_a_library_caller_is_warned_of_missing_files(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match=r"lacks these files of the release: .*maskMat_zero"):
        read_reclm_mind(written(tmp_path, "mind", MIND))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"trnMat_zero": None, "item_id_map_train": None},
            r"lacks trnMat_zero\.pkl, item_id_map_train\.pkl, .* \(also missing: user_item_dict_t",
        ),
        ({"item_info_dict": None}, r"lacks item_info_dict\.pkl"),
        ({"tstMat_zero_": None, "item_id_map_zero": None}, r"tstMat_zero_\.pkl, item_id_map_zero"),
        ({"trnMat_zero": {1: 2}}, r"trnMat_zero\.pkl is not a matrix"),
        ({"item_id_map_train": [1]}, r"item_id_map_train\.pkl is not a dict of numbers"),
        ({"item_id_map_train": {10: 0}}, r"item_id_map_train\.pkl does not name the columns"),
        ({"item_id_map_train": {10: 1, 12: 0}}, "does not name the columns of trnMat_zero.pkl in"),
        ({"item_info_dict": {10: news("A")}}, r"item_info_dict\.pkl: no item 12, which is in part"),
        ({"item_info_dict": {10: {"title": "A"}}}, r"item_info_dict\.pkl: item 10 has no cate"),
        ({"item_info_dict": {10: "A"}}, r"item_info_dict\.pkl: item 10 is not a dict"),
        ({"item_info_dict": print}, r"item_info_dict\.pkl names builtins\.print"),
    ],
)
def test_files_that_do_not_suffice_or_fit_are_named(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    folder = written(tmp_path, "mind", MIND, **changes)
    with pytest.raises(DatasetError, match=message):
        read_reclm_mind(folder, notice=lambda _: None)


def test_netflix_without_matrices_trains_on_the_test_period(tmp_path: Path) -> None:
    told: list[str] = []
    dataset = read_reclm_netflix(written(tmp_path, "netflix", NETFLIX), notice=told.append)
    assert dataset.items["title"].to_pylist() == ["8 Man (1992)", "Brunette (1947)"]
    assert parts(dataset.interactions) == {
        "train": {("7", "0")},
        "cold-items/test": {("7", "1"), ("3", "1")},
    }
    assert "test period alone" in (dataset.info.split or "")
    assert "trnMat_zero.pkl" in told[0]


def test_netflix_with_matrices_has_the_releases_split(tmp_path: Path) -> None:
    info = {number: {"year": 2000, "title": "x"} for number in (10, 11, 12, 13)}
    folder = written(tmp_path, "netflix", {**NETFLIX, **MIND}, item_info_dict=info)
    assert parts(read_reclm_netflix(folder, notice=lambda _: None).interactions) == PARTS


def test_netflix_without_choices_names_what_it_needs(tmp_path: Path) -> None:
    folder = written(tmp_path, "netflix", NETFLIX, user_item_dict_test=None, item_id_map_zero=None)
    with pytest.raises(DatasetError, match=r"lacks user_item_dict_test\.pkl, item_id_map_zero\.p"):
        read_reclm_netflix(folder, notice=lambda _: None)
    other = written(tmp_path / "b", "netflix", NETFLIX, user_item_dict_test={1: "ab"})
    with pytest.raises(DatasetError, match=r"user_item_dict_test\.pkl: .* lists of item numbers"):
        read_reclm_netflix(other, notice=lambda _: None)


def test_the_teachers_profiles_are_read(tmp_path: Path) -> None:
    told = {"identity": "User identity: Fan", "interests": "User interests: Football"}
    files = {"gpt_output_dict_item_side_filter": {10: told | {"input": "x"}}}
    place = written(tmp_path / "whole", "mind", files) / "data" / "mind"
    assert read_teacher_profiles(place) == {"10": "User identity: Fan; User interests: Football."}
    files = {"gpt_output_dict_item_side_filter": {10: told, 11: {"identity": "Fan"}}}
    place = written(tmp_path / "half", "mind", files) / "data" / "mind"
    with pytest.raises(DatasetError, match="item 11 lacks identity or interests"):
        read_teacher_profiles(place)
    with pytest.raises(DatasetError, match="lacks gpt_output_dict_item_side_filter"):
        read_teacher_profiles(tmp_path)


def test_vectors_of_profiles_are_read_where_they_are(tmp_path: Path) -> None:
    info = {0: news("A"), 1: news("B")}
    place = written(tmp_path, "mind", MIND, item_info_dict=info) / "data" / "mind"
    (place / "item_profile").mkdir()
    (place / "user_profile").mkdir()
    vectors = np.arange(6, dtype=np.float64).reshape(2, 3)
    np.save(place / "item_profile" / "item_profile_embeddings.npy", vectors)
    found = read_profile_vectors(place, "items")
    assert found.dtype == np.float32
    assert found.tolist() == vectors.tolist()
    np.save(place / "user_profile" / "user_profile_embeddings.npy", np.ones((3, 3)))
    assert read_profile_vectors(place, "users").shape == (3, 3)


def test_users_without_a_matrix_are_those_of_the_choices(tmp_path: Path) -> None:
    choices = {1: [0, 1], 0: [1]}
    files = written(tmp_path, "netflix", NETFLIX, user_item_dict_test=choices)
    place = files / "data" / "netflix"
    (place / "user_profile").mkdir()
    np.save(place / "user_profile" / "user_profile_embeddings.npy", np.ones((2, 4)))
    assert read_profile_vectors(place, "users").shape == (2, 4)


def test_missing_vectors_are_named_with_where_they_are(tmp_path: Path) -> None:
    place = written(tmp_path, "netflix", NETFLIX) / "data" / "netflix"
    wanted = r"item_profile_embeddings\.npy is missing: it is one of the release's larger files"
    with pytest.raises(DatasetError, match=wanted):
        read_profile_vectors(place, "items")
    (place / "user.zip").write_bytes(b"")
    with pytest.raises(DatasetError, match=r"unpack .*user\.zip first"):
        read_profile_vectors(place, "users")


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (np.ones((3, 2)), "has 3 rows for 2 items"),
        (np.array([[1.0], [np.nan]]), "not finite vectors"),
        (np.ones(2), "not finite vectors"),
        (np.array([["a"], ["b"]]), "not finite vectors"),
        (np.array([{}, {}]), "is no array of numbers"),
    ],
)
def test_vectors_that_do_not_fit_are_refused(
    tmp_path: Path, vectors: np.ndarray, message: str
) -> None:
    place = written(tmp_path, "netflix", NETFLIX) / "data" / "netflix"
    (place / "item_profile").mkdir()
    np.save(place / "item_profile" / "item_profile_embeddings.npy", vectors, allow_pickle=True)
    with pytest.raises(DatasetError, match=message):
        read_profile_vectors(place, "items")


def test_vectors_of_items_without_numbers_from_0_cannot_be_named(tmp_path: Path) -> None:
    place = written(tmp_path, "mind", MIND) / "data" / "mind"
    (place / "item_profile").mkdir()
    np.save(place / "item_profile" / "item_profile_embeddings.npy", np.ones((4, 2)))
    with pytest.raises(DatasetError, match="the items are not numbered from 0"):
        read_profile_vectors(place, "items")
