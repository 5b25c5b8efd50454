"""The registry of datasets and profiles that can be imported, by name.

To add a source, write its reader in `recommenders/data/readers/`, a function here that imports the
reader when it is called, and a line of the registry. Importing this module imports no reader.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from recommenders.data.dataset import Dataset

Notice: TypeAlias = Callable[[str], None]
"""Called with a remark on the data that is not an error."""

DatasetReader: TypeAlias = "Callable[[Path, Notice], Dataset]"
"""Reads the files at a path. Raises DatasetError if they cannot be read."""

ProfileReader: TypeAlias = Callable[[Path], dict[str, str]]
"""Reads profiles, id -> text. Raises DatasetError if they cannot be read."""


@dataclass(frozen=True, slots=True)
class Source:
    """A published dataset.

    Attributes:
        summary: A description in one line.
        path: What the path to its files must be.
        read: Its reader.
    """

    summary: str
    path: str
    read: DatasetReader


@dataclass(frozen=True, slots=True)
class ProfileSource:
    """Published profiles.

    Attributes:
        summary: A description in one line.
        path: What the path to their files must be.
        read: Their reader.
    """

    summary: str
    path: str
    read: ProfileReader


def _reclm_mind(path: Path, notice: Notice) -> Dataset:
    from recommenders.data.readers.reclm import read_reclm_mind

    return read_reclm_mind(path, notice=notice)


def _reclm_netflix(path: Path, notice: Notice) -> Dataset:
    from recommenders.data.readers.reclm import read_reclm_netflix

    return read_reclm_netflix(path, notice=notice)


def _ml_100k(path: Path, _: Notice) -> Dataset:
    from recommenders.data.readers.movielens import read_ml_100k

    return read_ml_100k(path)


def _ml_1m(path: Path, _: Notice) -> Dataset:
    from recommenders.data.readers.movielens import read_ml_1m

    return read_ml_1m(path)


def _ml_latest(path: Path, _: Notice) -> Dataset:
    from recommenders.data.readers.movielens import read_ml_latest

    return read_ml_latest(path)


def _ml_1m_gear(path: Path, _: Notice) -> Dataset:
    from recommenders.data.readers.gear_rec import read_gear_rec

    return read_gear_rec(path)


def _mind(path: Path, _: Notice) -> Dataset:
    from recommenders.data.readers.mind import read_mind

    return read_mind(path)


def _games_6k(path: Path, _: Notice) -> Dataset:
    from recommenders.data.readers.games import read_games

    return read_games(path)


def _citeulike_a(path: Path, _: Notice) -> Dataset:
    from recommenders.data.readers.citeulike import read_citeulike

    return read_citeulike(path)


def _gear_profiles(path: Path) -> dict[str, str]:
    from recommenders.data.readers.gear_rec import read_profiles

    return read_profiles(path)


def _reclm_profiles(path: Path) -> dict[str, str]:
    from recommenders.data.readers.reclm import read_teacher_profiles

    return read_teacher_profiles(path)


PROFILES: Mapping[str, ProfileSource] = {
    "ml-1m-gear-profiles": ProfileSource(
        "GEAR-Rec's profiles by a large model, as JSON lines by original id",
        "llm_response_user.json or llm_response_item.json",
        _gear_profiles,
    ),
    "reclm-profiles": ProfileSource(
        "the teacher's profiles of some items in RecLM's release, as JSON lines",
        "data/mind or data/netflix of the release",
        _reclm_profiles,
    ),
}

SOURCES: Mapping[str, Source] = {
    "reclm-mind": Source(
        "MIND of RecLM's release, with its split",
        "the release, or data/mind in it",
        _reclm_mind,
    ),
    "reclm-netflix": Source(
        "Netflix of RecLM's release, with its split",
        "the release, or data/netflix in it",
        _reclm_netflix,
    ),
    "ml-100k": Source(
        "MovieLens 100K as RecBole's atomic files",
        "the folder of ml-100k.item and ml-100k.inter",
        _ml_100k,
    ),
    "ml-1m": Source(
        "MovieLens 1M by GroupLens",
        "the folder of movies.dat and ratings.dat",
        _ml_1m,
    ),
    "ml-latest": Source(
        "MovieLens latest, latest-small, 20M, 25M or 32M by GroupLens",
        "the folder of movies.csv and ratings.csv",
        _ml_latest,
    ),
    "ml-1m-gear": Source(
        "MovieLens 1M of GEAR-Rec, with its split and longer texts",
        "the folder of train.txt, test.txt, the maps and movies_extended.csv",
        _ml_1m_gear,
    ),
    "mind": Source(
        "MIND by Microsoft",
        "a folder of news.tsv and behaviors.tsv, such as MINDsmall_train",
        _mind,
    ),
    "games-6k": Source(
        "Amazon's video games of LLMRank, with its split",
        "the folder of Games-6k.item and Games-6k.test.inter",
        _games_6k,
    ),
    "citeulike-a": Source(
        "CiteULike-a with the split published with ALDI",
        "the folder of tags.dat, item-tag.dat and the five CSV files of the split",
        _citeulike_a,
    ),
}
