"""What can be imported, by name. Standard library only: the readers are imported when they run."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from recommenders.data.dataset import Dataset


@dataclass(frozen=True, slots=True)
class Source:
    """Files that others published.

    Attributes:
        summary: What they are, in a line.
        path: What the path to them is.
        reader: `module:function` below `recommenders.data.readers`.
        notices: Whether the reader has something to tell that is no error.
    """

    summary: str
    path: str
    reader: str
    notices: bool = False

    def read(self, path: Path, notice: Callable[[str], None]) -> Dataset:
        """Reads them.

        Args:
            path: Where they are.
            notice: Is told what is worth knowing and no error.

        Raises:
            DatasetError: They cannot be read.
        """
        read = _function(self.reader)
        dataset: Dataset = read(path, notice=notice) if self.notices else read(path)
        return dataset


@dataclass(frozen=True, slots=True)
class ProfileSource:
    """Profiles that others published.

    Attributes:
        summary: What they are, in a line.
        path: What the path to them is.
        reader: `module:function` below `recommenders.data.readers`.
    """

    summary: str
    path: str
    reader: str

    def read(self, path: Path) -> dict[str, str]:
        """Reads them: id -> text.

        Raises:
            DatasetError: They cannot be read.
        """
        profiles: dict[str, str] = _function(self.reader)(path)
        return profiles


def _function(reader: str) -> Any:  # noqa: ANN401 - what it returns is the caller's to say
    module, function = reader.split(":")
    return getattr(importlib.import_module(f"recommenders.data.readers.{module}"), function)


PROFILES: Mapping[str, ProfileSource] = {
    "ml-1m-gear-profiles": ProfileSource(
        "GEAR-Rec's profiles by a large model, as JSON lines by original id",
        "llm_response_user.json or llm_response_item.json",
        "gear_rec:read_profiles",
    ),
    "reclm-profiles": ProfileSource(
        "the teacher's profiles of some items in RecLM's release, as JSON lines",
        "data/mind or data/netflix of the release",
        "reclm:read_teacher_profiles",
    ),
}

SOURCES: Mapping[str, Source] = {
    "reclm-mind": Source(
        "MIND of RecLM's release, with its split",
        "the release, or data/mind in it",
        "reclm:read_reclm_mind",
        notices=True,
    ),
    "reclm-netflix": Source(
        "Netflix of RecLM's release, with its split",
        "the release, or data/netflix in it",
        "reclm:read_reclm_netflix",
        notices=True,
    ),
    "ml-100k": Source(
        "MovieLens 100K as RecBole's atomic files",
        "the folder of ml-100k.item and ml-100k.inter",
        "movielens:read_ml_100k",
    ),
    "ml-1m": Source(
        "MovieLens 1M by GroupLens",
        "the folder of movies.dat and ratings.dat",
        "movielens:read_ml_1m",
    ),
    "ml-latest": Source(
        "MovieLens latest, latest-small, 20M, 25M or 32M by GroupLens",
        "the folder of movies.csv and ratings.csv",
        "movielens:read_ml_latest",
    ),
    "ml-1m-gear": Source(
        "MovieLens 1M of GEAR-Rec, with its split and longer texts",
        "the folder of train.txt, test.txt, the maps and movies_extended.csv",
        "gear_rec:read_gear_rec",
    ),
    "mind": Source(
        "MIND by Microsoft",
        "a folder of news.tsv and behaviors.tsv, such as MINDsmall_train",
        "mind:read_mind",
    ),
    "games-6k": Source(
        "Amazon's video games of LLMRank, with its split",
        "the folder of Games-6k.item and Games-6k.test.inter",
        "games:read_games",
    ),
    "citeulike-a": Source(
        "CiteULike-a with the split published with ALDI",
        "the folder of tags.dat, item-tag.dat and the five CSV files of the split",
        "citeulike:read_citeulike",
    ),
}
