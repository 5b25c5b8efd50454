"""MIND and Netflix as released with RecLM (arXiv 2412.19302): pickled dicts and matrices.

Users are numbered; matrices have a row for each. `item_id_map_*` says which item a column is.
The release's code (`DataHandler.py`) trains on `trnMat_zero` and tests twice: on `tstMat_zero_`,
among all items of the test period, and zero-shot on `tstMat_zero_shot`, among those of them that
have no training interaction. The second is a part of the first. Here each interaction is in one
part only, so `warm/test` has what `tstMat_zero_` has on items known from training, and the
release's full-shot test is both test parts together, ranked among the items that occur in them.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
from scipy import sparse

from recommenders.data.dataset import Dataset, DatasetInfo
from recommenders.data.errors import DatasetError
from recommenders.data.readers.tables import COLD_TEST, TRAIN, WARM_TEST, items_table, part_table
from recommenders.data.unpickling import load_pickle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    Pairs = tuple[NDArray[np.int64], NDArray[np.int64]]
    Notice = Callable[[str], None]

_LICENCE = (
    "The release, github.com/HKUDS/RecLM, states no terms. Publications cite: Yangqin Jiang et "
    "al., RecLM: Recommendation Instruction Tuning, arXiv 2412.19302. "
)
RECLM_MIND = DatasetInfo(
    name="reclm-mind",
    source="RecLM's release, github.com/HKUDS/RecLM, data/mind",
    licence=_LICENCE + "MIND itself: Microsoft Research License Terms, for research.",
)
RECLM_NETFLIX = DatasetInfo(
    name="reclm-netflix",
    source="RecLM's release, github.com/HKUDS/RecLM, data/netflix",
    licence=_LICENCE + "The Netflix Prize data has its own terms.",
)

_INFO, _TRAIN, _TRAIN_MAP = "item_info_dict.pkl", "trnMat_zero.pkl", "item_id_map_train.pkl"
_TEST, _TEST_MAP = "tstMat_zero_.pkl", "item_id_map_test.pkl"
_ZERO, _ZERO_MAP = "tstMat_zero_shot.pkl", "item_id_map_zero.pkl"
_CHOICES = "user_item_dict_test.pkl"
_TEACHER = "gpt_output_dict_item_side_filter.pkl"
_VECTORS = {
    "items": "item_profile/item_profile_embeddings.npy",
    "users": "user_profile/user_profile_embeddings.npy",
}
_RELEASE = (
    *(_INFO, _TRAIN, _TRAIN_MAP, _TEST, _TEST_MAP, _ZERO, _ZERO_MAP, _CHOICES),
    "user_item_dict_train.pkl",
    "maskMat_zero.pkl",
    "self_instruction_dict.pkl",
    "self_instruction_dict_item.pkl",
    _TEACHER,
    "item_original_features.npy",
    *_VECTORS.values(),
)


def read_reclm_mind(folder: Path, *, notice: Notice = warnings.warn) -> Dataset:
    """Reads the release's MIND: see the module for what its parts are.

    The files have neither times nor ratings: all timestamps are 0, and all weights 1.

    Args:
        folder: The release, or `data/mind` in it.
        notice: Is told, once, which files of the release are missing.

    Raises:
        DatasetError: The files that are there do not suffice (what is missing is named, all at
            once), name things that no dataset needs, or do not fit together.
    """
    place = _place(folder, "mind", notice)
    items = {
        number: (title, ", ".join(filter(None, (category, below))), abstract)
        for number, (title, category, below, abstract) in _texts(
            place, ("title", "cate", "sub_cate", "abstract")
        )
    }
    return _published(RECLM_MIND, place, items)


def read_reclm_netflix(folder: Path, *, notice: Notice = warnings.warn) -> Dataset:
    """Reads the release's Netflix.

    With all matrices there, the parts are as in MIND. Without them `user_item_dict_test`, the
    choices of the test period, suffices: those of zero-shot items are `cold-items/test`, all
    others `train`. Titles become "My Favorite Brunette (1947)". All timestamps are 0, all weights
    1.

    Args:
        folder: The release, or `data/netflix` in it.
        notice: Is told, once, which files of the release are missing.

    Raises:
        DatasetError: As for `read_reclm_mind`.
    """
    place = _place(folder, "netflix", notice)
    items = {
        number: (f"{title} ({year})", "", "")
        for number, (title, year) in _texts(place, ("title", "year"))
    }
    if all((place / name).is_file() for name in (_TRAIN, _TRAIN_MAP, _TEST, _TEST_MAP)):
        return _published(RECLM_NETFLIX, place, items)
    _require(place, (_CHOICES, _ZERO_MAP))
    pairs, zero = _choices(place / _CHOICES, _load(place, _CHOICES)), _load(place, _ZERO_MAP)
    cold = np.isin(pairs[1], list(zero))
    split = (
        "the test period alone: its choices of zero-shot items are cold-items/test, all others "
        "train"
    )
    parts = [(_chosen(pairs, ~cold), TRAIN), (_chosen(pairs, cold), COLD_TEST)]
    return _dataset(replace(RECLM_NETFLIX, split=split), place, items, parts)


def read_teacher_profiles(folder: Path) -> dict[str, str]:
    """Reads `gpt_output_dict_item_side_filter`: profiles of some items, by the release's teacher.

    The teacher was shown profiles of users who had chosen the item in the training period. All of
    these items are known from that period; no zero-shot item has a profile.

    Args:
        folder: `data/mind` or `data/netflix` of the release.

    Returns:
        Item id -> the profile's text.

    Raises:
        DatasetError: The file is missing, or has something else in it.
    """
    _require(folder, (_TEACHER,))
    profiles = {}
    for number, profile in _load(folder, _TEACHER).items():
        parts = profile if isinstance(profile, dict) else {}
        told = [str(parts.get(name, "")).strip() for name in ("identity", "interests")]
        if not all(told):
            raise DatasetError(f"{folder / _TEACHER}: item {number} lacks identity or interests")
        profiles[str(number)] = f"{'; '.join(told)}."
    return profiles


def read_profile_vectors(folder: Path, of: Literal["items", "users"]) -> NDArray[np.float32]:
    """Reads the vectors of the paper's own profiles, which the release has among its larger files.

    The release does not say what a row is of. Its matrices have a row for each user, and its items
    are numbered from 0; the vectors are taken to be in this order, and only their number is checked.

    Args:
        folder: The release's `data/mind` or `data/netflix`.
        of: Whose vectors.

    Returns:
        Items or users x dimensions, float32; row n is of item or user n.

    Raises:
        DatasetError: The file is missing, is no matrix of finite numbers, or has another number of
            rows than there are items or users.
    """
    path = folder / _VECTORS[of]
    if not path.is_file():
        packed = ", ".join(str(file) for file in sorted(folder.glob("**/*.zip")))
        also = f"; unpack {packed} first" if packed else ""
        raise DatasetError(
            f"{path} is missing: it is one of the release's larger files, "
            f"github.com/HKUDS/RecLM{also}"
        )
    try:
        vectors = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path} is no array of numbers: {error}") from error
    numbers = sorted(_load(folder, _INFO)) if of == "items" else _users(folder)
    if numbers != list(range(len(numbers))):
        raise DatasetError(f"{path}: the {of} are not numbered from 0, so no row can be named")
    if vectors.ndim != 2 or vectors.dtype.kind != "f" or not np.isfinite(vectors).all():
        raise DatasetError(
            f"{path} has {vectors.dtype} of shape {vectors.shape}, not finite vectors"
        )
    if len(vectors) != len(numbers):
        raise DatasetError(f"{path} has {len(vectors):,} rows for {len(numbers):,} {of}")
    found: NDArray[np.float32] = vectors.astype(np.float32)
    return found


def _users(folder: Path) -> list[int]:
    """Returns the users' numbers: the rows of a matrix, or the keys of the choices."""
    if (folder / _TRAIN).is_file():
        matrix = load_pickle(folder / _TRAIN)
        if not isinstance(matrix, sparse.coo_array):
            raise DatasetError(f"{folder / _TRAIN} is not a matrix")
        return list(range(matrix.shape[0]))
    _require(folder, (_CHOICES,))
    return sorted(_load(folder, _CHOICES))


def _published(info: DatasetInfo, place: Path, items: Mapping[int, Any]) -> Dataset:
    """Reads training and test out of the matrices."""
    _require(place, (_TRAIN, _TRAIN_MAP))
    train = _matrix(place, _TRAIN, _TRAIN_MAP)
    tests = [
        (matrix, names)
        for matrix, names in ((_TEST, _TEST_MAP), (_ZERO, _ZERO_MAP))
        if (place / matrix).is_file() and (place / names).is_file()
    ]
    if not tests:
        _require(place, (_TEST, _TEST_MAP, _ZERO, _ZERO_MAP))
    both = [np.stack(_matrix(place, *names)) for names in tests]
    test: NDArray[np.int64] = np.unique(np.concatenate(both, axis=1), axis=1)
    pairs = (test[0], test[1])
    warm = np.isin(pairs[1], train[1])
    split = (
        f"as published: {_TRAIN} is train; of {' and '.join(name for name, _ in tests)}, what is "
        "on items known from training is warm/test, the rest cold-items/test"
    )
    parts = [
        (train, TRAIN),
        (_chosen(pairs, warm), WARM_TEST),
        (_chosen(pairs, ~warm), COLD_TEST),
    ]
    return _dataset(replace(info, split=split), place, items, parts)


def _dataset(
    info: DatasetInfo,
    place: Path,
    items: Mapping[int, tuple[str, str, str]],
    parts: list[tuple[Pairs, str]],
) -> Dataset:
    numbers = sorted(items)
    for (_, chosen), part in parts:
        if not np.isin(chosen, numbers).all():
            unknown = chosen[~np.isin(chosen, numbers)][0]
            raise DatasetError(f"{place / _INFO}: no item {unknown}, which is in part {part}")
    titles, categories, descriptions = zip(*(items[number] for number in numbers), strict=True)
    table = items_table([str(number) for number in numbers], titles, categories, descriptions)
    tables = [
        part_table(pa.array(users).cast(pa.string()), pa.array(chosen).cast(pa.string()), part)
        for (users, chosen), part in parts
    ]
    return Dataset(info, table, pa.concat_tables(tables))


def _place(folder: Path, name: str, notice: Notice) -> Path:
    """Returns the folder of the files, and reports those of the release that are missing."""
    place = folder / "data" / name
    if not place.is_dir():
        place = folder
    missing = [file for file in _RELEASE if not (place / file).is_file()]
    _require(place, (_INFO,))
    if missing:
        notice(
            f"{place} lacks these files of the release: {', '.join(missing)}; "
            "github.com/HKUDS/RecLM has them, the largest behind links"
        )
    return place


def _require(place: Path, names: tuple[str, ...]) -> None:
    if missing := [name for name in names if not (place / name).is_file()]:
        also = [name for name in _RELEASE if name not in names and not (place / name).is_file()]
        more = f" (also missing: {', '.join(also)})" if also else ""
        raise DatasetError(
            f"{place} lacks {', '.join(missing)}, without which nothing can be read{more}"
        )


def _load(place: Path, name: str) -> dict[Any, Any]:
    found = load_pickle(place / name)
    if not isinstance(found, dict) or not all(isinstance(key, int) for key in found):
        raise DatasetError(f"{place / name} is not a dict of numbers")
    return found


def _texts(place: Path, wanted: tuple[str, ...]) -> Iterator[tuple[int, list[str]]]:
    """Yields each item's number and what it has under the wanted names."""
    for number, item in _load(place, _INFO).items():
        if not isinstance(item, dict):
            raise DatasetError(f"{place / _INFO}: item {number} is not a dict")
        if missing := [name for name in wanted if name not in item]:
            raise DatasetError(f"{place / _INFO}: item {number} has no {', '.join(missing)}")
        yield number, [str(item[name]) for name in wanted]


def _choices(path: Path, choices: dict[Any, Any]) -> Pairs:
    """Returns the user and the item of each choice in a dict of lists."""
    try:
        items = np.array([item for items in choices.values() for item in items], np.int64)
        lengths = [len(items) for items in choices.values()]
    except (TypeError, ValueError) as error:
        raise DatasetError(f"{path}: does not have lists of item numbers: {error}") from error
    return np.repeat(np.array(list(choices), np.int64), lengths), items


def _matrix(place: Path, matrix: str, names: str) -> Pairs:
    """Returns the user and the item of each entry of a matrix."""
    found, numbers = load_pickle(place / matrix), _load(place, names)
    if not isinstance(found, sparse.coo_array):
        raise DatasetError(f"{place / matrix} is not a matrix")
    if list(numbers.values()) != list(range(found.shape[1])):
        raise DatasetError(f"{place / names} does not name the columns of {matrix} in their order")
    there = found.data != 0
    columns = np.array(list(numbers), np.int64)
    return found.row[there].astype(np.int64), columns[found.col[there]]


def _chosen(pairs: Pairs, mask: NDArray[np.bool_]) -> Pairs:
    return pairs[0][mask], pairs[1][mask]
