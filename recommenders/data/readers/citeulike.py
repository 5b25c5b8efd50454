"""CiteULike-a: researchers and the papers in their libraries, with the split published with ALDI."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from recommenders.data.dataset import Dataset, DatasetInfo
from recommenders.data.errors import DatasetError
from recommenders.data.readers.blocks import read_delimited
from recommenders.data.readers.lines import number_lines, text_lines
from recommenders.data.readers.tables import (
    COLD_TEST,
    COLD_VALIDATION,
    TRAIN,
    WARM_TEST,
    WARM_VALIDATION,
    items_table,
    part_table,
)
from services.common.tabular.delimited import CSV

if TYPE_CHECKING:
    from pathlib import Path

CITEULIKE = DatasetInfo(
    name="citeulike-a",
    source=(
        "CiteULike-a, github.com/js05212/citeulike-a, with the split of ALDI, "
        "github.com/zfnWong/ALDI"
    ),
    licence=(
        "No terms come with the files. Publications cite: Hao Wang, Binyi Chen, Wu-Jun Li, "
        "Collaborative Topic Regression with Social Regularization for Tag Recommendation, IJCAI "
        "2013; and for the split: Feiran Huang et al., Aligning Distillation For Cold-start Item "
        "Recommendation, SIGIR 2023."
    ),
    split=(
        "as published: warm_emb is train, warm_val and warm_test are of warm, cold_item_val and "
        "cold_item_test of cold-items"
    ),
)
_PARTS = {
    "warm_emb.csv": TRAIN,
    "warm_val.csv": WARM_VALIDATION,
    "warm_test.csv": WARM_TEST,
    "cold_item_val.csv": COLD_VALIDATION,
    "cold_item_test.csv": COLD_TEST,
}


def read_citeulike(folder: Path) -> Dataset:
    """Reads `tags.dat`, `item-tag.dat` and the five files of the split.

    Ids are the numbers in the files: lines of `item-tag.dat` and `users.dat`, from 0. Tags are all
    the text there is: a paper's title is its tags as published, separated by commas, or its id if
    it has none. Those who save a paper give it its tags, so that their number knows how popular it
    will be: the audit calls the published cold split not sound. There are no times and no ratings: all timestamps are 0, and all weights 1.

    Raises:
        DatasetError: A file or column is missing or a row cannot be read; file and line are named.
    """
    tags = [tag for _, tag in text_lines(folder / "tags.dat")]
    titles = []
    for where, numbers in number_lines(folder / "item-tag.dat"):
        if not len(numbers) or numbers[0] != len(numbers) - 1:
            raise DatasetError(f"{where}: does not begin with the number of tags that follow")
        if (beyond := numbers[1:][numbers[1:] >= len(tags)]).size:
            raise DatasetError(f"{where}: {beyond[0]} is no line of tags.dat, from 0")
        titles.append(", ".join(tags[number] for number in numbers[1:]))
    items = items_table([str(row) for row in range(len(titles))], titles)
    known = items["item_id"].combine_chunks()
    parts = [
        part_table(block.ids("user"), block.ids("item", known=known), part)
        for name, part in _PARTS.items()
        for block in read_delimited(folder / name, CSV, ("user", "item"))
    ]
    return Dataset(CITEULIKE, items, pa.concat_tables(parts))
