"""The seed set: varied, in the form of constrained decoding, with ids of MovieLens."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from recommenders.data.dataset import INTERACTION_COLUMNS, Dataset, DatasetInfo
from services.profiles.generation.grammar import parse, pattern
from training.data import seeds
from training.data.errors import InstructionDataError
from training.data.folder import read_manifest

if TYPE_CHECKING:
    from services.profiles.domain.profile import Kind

ROWS: dict[Kind, int] = {"user": 400, "item": 300}
IDS: dict[Kind, int] = {"user": 943, "item": 1682}
ML_100K = Path(os.environ.get("RECLM_HOME", ".reclm"), "data", "ml-100k")


@pytest.mark.parametrize("kind", ["user", "item"])
def test_every_profile_is_one_that_the_decoder_could_write(kind: Kind) -> None:
    profiles = seeds.seed_profiles(kind)
    assert len(profiles) == ROWS[kind]
    for name, words in profiles.items():
        assert re.fullmatch(pattern(kind), words.text), (name, words.text)
        assert parse(kind, words.text) == words, name


@pytest.mark.parametrize("kind", ["user", "item"])
def test_phrases_are_varied(kind: Kind) -> None:
    rows = [
        {phrase.casefold() for phrase in (*words.identities, *words.interests)}
        for words in seeds.seed_profiles(kind).values()
    ]
    counts = Counter(phrase for row in rows for phrase in row)
    phrase, most = counts.most_common(1)[0]
    assert len(counts) / counts.total() > 0.6
    assert most <= 0.08 * len(rows), phrase


@pytest.mark.parametrize("kind", ["user", "item"])
def test_no_word_ends_more_than_a_third_of_the_identities(kind: Kind) -> None:
    ends = Counter(
        phrase.split()[-1]
        for words in seeds.seed_profiles(kind).values()
        for phrase in words.identities
    )
    assert ends.most_common(1)[0][1] < ends.total() / 3


@pytest.mark.parametrize("kind", ["user", "item"])
def test_ids_are_movielens_s(kind: Kind) -> None:
    numbers = [int(name) for name in seeds.seed_profiles(kind)]
    assert numbers == sorted(set(numbers))
    assert 1 <= numbers[0] <= numbers[-1] <= IDS[kind]


@pytest.mark.parametrize("kind", ["user", "item"])
def test_the_writer_s_reading_is_found_in_the_dataset(kind: Kind) -> None:
    if not (ML_100K / "dataset.json").is_file():
        pytest.skip(f"{ML_100K} is not there; `reclm-recommend data get ml-100k` fetches it")
    answers = list(seeds.read_seeds(Dataset.read(ML_100K), kind))
    assert len(answers) == ROWS[kind]
    assert all(answer.lines and all(answer.lines) for answer in answers)
    assert max(len(answer.lines) for answer in answers) == (24 if kind == "user" else 1)
    if kind == "user":
        assert answers[0].lines[-1] == "Manhattan (1979) | Comedy, Drama, Romance"
    else:
        assert answers[0].neighbours[-1] == "Sense and Sensibility (1995) | Drama, Romance"


def dataset(users: list[str]) -> Dataset:
    """Each user has rated ten films, the tenth of the first two after all others."""
    films = [f"f{number}" for number in range(10)]
    items = pa.table(
        {"item_id": films, "title": films, "category": [""] * 10, "description": [""] * 10}
    )
    rows = [
        (user, film, time, 5.0 if time % 2 or user == users[0] else 3.0)
        for user in users
        for time, film in enumerate(films)
    ]
    columns = [list(column) for column in zip(*rows, strict=True)]
    info = DatasetInfo(name="tiny", source="a test", licence="none")
    return Dataset(info, items, pa.table(columns, schema=pa.schema(INTERACTION_COLUMNS)))


def test_the_newest_fifth_and_what_was_not_liked_are_not_read() -> None:
    users = list(seeds.seed_profiles("user"))
    first, second, *_ = seeds.read_seeds(dataset(users), "user")
    assert first.id == users[0]
    assert first.lines == tuple(f"f{number}" for number in range(8))
    # Four of the eight are liked, which is too few: those that were endured are read as well.
    assert second.lines == tuple(f"f{number}" for number in range(8))
    assert first.text.startswith("User identity: ")


def test_another_dataset_is_refused() -> None:
    with pytest.raises(InstructionDataError, match="'tiny' has no user 6, 8, 10, 13, 15; the seed"):
        list(seeds.read_seeds(dataset(["x"]), "user"))
    with pytest.raises(InstructionDataError, match="'tiny' has no item 14, 23"):
        list(seeds.read_seeds(dataset(["x"]), "item"))


def test_a_file_that_was_changed_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "seed"
    shutil.copytree(seeds.seed_folder(), copy)
    monkeypatch.setattr(seeds, "seed_folder", lambda: copy)
    assert seeds.seed_profiles("user")
    with (copy / "users.jsonl").open("a") as file:
        file.write(json.dumps({"id": "1", "identities": [], "interests": []}) + "\n")
    with pytest.raises(InstructionDataError, match="differs from its manifest"):
        seeds.seed_profiles("user")


def test_the_manifest_says_what_the_code_reads() -> None:
    read = read_manifest(seeds.seed_folder())["read"]
    assert read["user"]["newest"] == seeds.NEWEST
    assert read["user"]["min_weight"] == read["item"]["min_weight"] == seeds.LIKED
    assert read["user"]["min_weight_where_fewer_than_8"] == seeds.ENDURED
    assert read["item"]["neighbours"] == seeds.NEIGHBOURS
