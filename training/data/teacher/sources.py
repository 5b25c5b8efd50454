"""All sources of a teacher's answers. A new source is a reader, and a line in `SOURCES`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from training.data.errors import InstructionDataError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from services.profiles.domain.profile import Kind
    from training.data.teacher.answers import TeacherAnswer


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceInput:
    """A source by its name, and the input of its reader.

    Attributes:
        source: Name of the source.
        kinds: Kinds of profiles to read.
        path: The file or folder of the answers.
        dataset: Folder of the dataset that the ids belong to.
        max_items: Most items of a history.
    """

    source: str
    kinds: tuple[Kind, ...]
    path: Path | None = None
    dataset: Path | None = None
    max_items: int = 50

    def require_path(self) -> Path:
        """Returns the path of the answers.

        Raises:
            InstructionDataError: None was given.
        """
        if self.path is None:
            raise InstructionDataError(f"{self.source} needs the path of its answers")
        return self.path

    def require_dataset(self) -> Path:
        """Returns the folder of the dataset.

        Raises:
            InstructionDataError: None was given.
        """
        if self.dataset is None:
            raise InstructionDataError(f"{self.source} needs --dataset, which has its texts")
        return self.dataset


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """A source of a teacher's answers.

    Attributes:
        read: Yields the answers. Raises InstructionDataError or DatasetError where an input is
            missing or cannot be read.
        form: Whether answers are profiles in their form, or paragraphs.
    """

    read: Callable[[SourceInput], Iterator[TeacherAnswer]]
    form: Literal["profile", "prose"] = "profile"


def _seed(given: SourceInput) -> Iterator[TeacherAnswer]:
    from recommenders.data.dataset import Dataset
    from training.data.seeds import read_seeds

    dataset = Dataset.read(given.require_dataset())
    for kind in given.kinds:
        yield from read_seeds(dataset, kind)


def _mind(given: SourceInput) -> Iterator[TeacherAnswer]:
    return _release("mind", given)


def _netflix(given: SourceInput) -> Iterator[TeacherAnswer]:
    return _release("netflix", given)


def _release(name: str, given: SourceInput) -> Iterator[TeacherAnswer]:
    from training.data.teacher.released import read_release_items, read_release_users

    readers = {"user": read_release_users, "item": read_release_items}
    for kind in given.kinds:
        yield from readers[kind](given.require_path(), name)


def _gear(given: SourceInput) -> Iterator[TeacherAnswer]:
    from recommenders.data.dataset import Dataset
    from training.data.teacher.released import read_gear_answers

    dataset = Dataset.read(given.require_dataset())
    yield from read_gear_answers(given.require_path(), dataset, limit=given.max_items)


def _answers(given: SourceInput) -> Iterator[TeacherAnswer]:
    from training.data.teacher.answers import read_answers
    from training.data.teacher.journal import ANSWERS

    path = given.require_path()
    yield from read_answers(path / ANSWERS if path.is_dir() else path)


SOURCES: Mapping[str, Source] = {
    "seed": Source(read=_seed),
    "reclm-mind": Source(read=_mind),
    "reclm-netflix": Source(read=_netflix),
    "ml-1m-gear": Source(read=_gear, form="prose"),
    "answers": Source(read=_answers),
}


def read_source(given: SourceInput) -> Iterator[TeacherAnswer]:
    """Yields the answers of a source, of the kinds that were asked for.

    Raises:
        InstructionDataError: An input is missing or cannot be read.
        DatasetError: The dataset cannot be read.
    """
    answers = SOURCES[given.source].read(given)
    yield from (answer for answer in answers if answer.kind in given.kinds)
