from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from recommenders.data.errors import DatasetError
from recommenders.data.readers.citeulike import read_citeulike

if TYPE_CHECKING:
    from pathlib import Path

FILES = {
    "tags.dat": "yeast\ngene_ontology\nsmall-world\n",
    "item-tag.dat": "2 1 0\n0\n1 2\n",
    "warm_emb.csv": "user,item\n5,0\n6,0\n",
    "warm_val.csv": "user,item\n5,1\n",
    "warm_test.csv": "user,item\n",
    "cold_item_val.csv": "user,item\n6,1\n",
    "cold_item_test.csv": "user,item\n6,2\n",
}


def written(folder: Path, name: str = "", text: str = "") -> Path:
    for file, content in {**FILES, **({name: text} if name else {})}.items():
        (folder / file).write_text(content)
    return folder


def test_tags_are_the_text_and_five_files_the_split(tmp_path: Path) -> None:
    dataset = read_citeulike(written(tmp_path))
    assert dataset.items["item_id"].to_pylist() == ["0", "1", "2"]
    assert dataset.items["title"].to_pylist() == ["gene_ontology, yeast", "1", "small-world"]
    assert dataset.interactions.to_pydict() == {
        "user_id": ["5", "6", "5", "6", "6"],
        "item_id": ["0", "0", "1", "1", "2"],
        "timestamp": [0] * 5,
        "weight": [1.0] * 5,
        "part": ["train"] * 2 + ["warm/validation", "cold-items/validation", "cold-items/test"],
    }


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("item-tag.dat", "2 1 0\n1\n", r"item-tag\.dat, line 2: .* number of tags that follow"),
        ("item-tag.dat", "1 3\n", r"item-tag\.dat, line 1: 3 is no line of tags\.dat"),
        ("item-tag.dat", "1 x\n", r"item-tag\.dat, line 1: 'x' is no whole number"),
        ("item-tag.dat", "\n", r"item-tag\.dat, line 1: does not begin"),
        ("warm_val.csv", "user,item\n5,3\n", r"warm_val\.csv, line 2: item '3' is not among"),
        ("warm_val.csv", "user,item\n5\n", r"warm_val\.csv, line 2: 1 values for 2 columns"),
        ("warm_test.csv", "who,item\n", r"warm_test\.csv has no column 'user'; it has who, item"),
    ],
)
def test_a_line_that_does_not_fit_is_named(
    tmp_path: Path, name: str, text: str, message: str
) -> None:
    with pytest.raises(DatasetError, match=message):
        read_citeulike(written(tmp_path, name, text))


def test_a_missing_part_is_named(tmp_path: Path) -> None:
    (written(tmp_path) / "cold_item_val.csv").unlink()
    with pytest.raises(DatasetError, match=r"cold_item_val\.csv is missing"):
        read_citeulike(tmp_path)
