"""The split that a dataset was published with; a missing validation part is drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np

from recommenders.data.errors import DatasetError
from recommenders.data.indexed import Indexed
from recommenders.data.split import COLD_ITEMS, COLD_USERS, WARM, Part, Scenario
from recommenders.data.splits.pairs import Pairs, hold_back
from recommenders.data.splits.plan import ITEMS, PAIRS, USERS, Plan, halves

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from recommenders.data.dataset import Dataset
    from recommenders.data.split import Split

PART = "part"
"""A column of the interactions: `train`, `<scenario>/validation` or `<scenario>/test`."""

_TRAIN = "train"


@dataclass(frozen=True, kw_only=True, slots=True)
class PublishedSplit(Plan):
    """The parts of the dataset's column `part`, as they were published.

    Errors in the published split are kept: a pair that was published in training and in test is in
    both, and the audit reports it. A missing validation part is drawn: for warm from each user's
    training pairs, for cold items and cold users half of the test items or users. The name of the
    split says which.

    Attributes:
        validation: Share of each user's training pairs, if warm validation is missing.
        known: Number of a cold user's first pairs that are known.
        seed: Seed of the random numbers for missing parts.
    """

    kind: ClassVar[str] = "published"

    validation: float = 0.1
    known: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        """Raises DatasetError if an option is invalid."""
        self.check_share("validation")
        self.check_whole("known", 1)
        self.check_whole("seed", 0)

    def divide(self, dataset: Dataset) -> Split:
        """Divides a dataset.

        Raises:
            DatasetError: The column `part` is missing or has an unknown value, or a scenario has no
                test part.
        """
        published = Published(dataset)
        train = published.train
        scenarios: dict[str, Scenario] = {}
        notes: list[str] = []
        seed = f", seed={self.seed}"
        if WARM in published.scenarios:
            validation = published.pairs(WARM, "validation")
            if not len(validation):
                drawn, _ = hold_back(
                    train,
                    np.ones(len(train), np.bool_),
                    validation=self.validation,
                    test=0,
                    rng=np.random.default_rng([self.seed, PAIRS]),
                )
                train, validation = train.where(~drawn), train.where(drawn)
                notes.append(f"warm/validation={self.validation:g} of training{seed}")
            scenarios[WARM] = published.warm(train, validation)
        if COLD_ITEMS in published.scenarios:
            scenarios[COLD_ITEMS], made = published.cold_items(
                train, np.random.default_rng([self.seed, ITEMS])
            )
            notes += [f"cold-items/validation=half of the test items{seed}"] * made
        if COLD_USERS in published.scenarios:
            scenarios[COLD_USERS], made = published.cold_users(
                np.random.default_rng([self.seed, USERS]), self.known
            )
            notes += [f"cold-users/validation=half of the test users{seed}"] * made
            notes.append(f"known={self.known}")
        name = f"published({'; '.join(notes)})" if notes else "published"
        return train.split(name, np.ones(len(train), np.bool_), scenarios)


class Published:
    """The interactions by the values of the column `part`.

    Attributes:
        scenarios: The scenarios in the column.
        train: The training pairs.
    """

    def __init__(self, dataset: Dataset) -> None:
        """Reads the column.

        Raises:
            DatasetError: The column is missing or has an unknown value, or a scenario has no test
                part.
        """
        if PART not in dataset.interactions.column_names:
            raise DatasetError(
                f"dataset {dataset.info.name} has no published split: no column {PART!r}"
            )
        self._indexed = Indexed.of(dataset)
        encoded = dataset.interactions[PART].dictionary_encode().combine_chunks()
        parts = cast("pa.DictionaryArray[Any, Any]", encoded)
        self._names: list[str | None] = parts.dictionary.to_pylist()
        self._codes = np.asarray(parts.indices.fill_null(-1))
        self.scenarios = self._check(dataset)
        self.train = self.pairs(_TRAIN)

    def _check(self, dataset: Dataset) -> set[str]:
        allowed = {_TRAIN} | {
            f"{scenario}/{part}"
            for scenario in (WARM, COLD_ITEMS, COLD_USERS)
            for part in ("validation", "test")
        }
        unknown = [code for code, name in enumerate(self._names) if name not in allowed]
        rows = np.flatnonzero(np.isin(self._codes, [-1, *unknown]))
        if rows.size:
            raise DatasetError(
                f"dataset {dataset.info.name}: interactions: row {rows[0]} has part "
                f"{dataset.interactions[PART][rows[0]].as_py()!r}; "
                f"known are {', '.join(sorted(allowed))}"
            )
        named = {name for name in self._names if name is not None}
        scenarios = {name.partition("/")[0] for name in named - {_TRAIN}}
        for scenario in scenarios:
            if f"{scenario}/test" not in named:
                raise DatasetError(f"dataset {dataset.info.name}: {scenario} has no test part")
        if not scenarios:
            raise DatasetError(f"dataset {dataset.info.name}: the column {PART!r} has no test part")
        return scenarios

    def pairs(self, scenario: str, part: str | None = None) -> Pairs:
        """Returns the pairs of a part; none if the column does not have it."""
        name = scenario if part is None else f"{scenario}/{part}"
        code = self._names.index(name) if name in self._names else len(self._names)
        return Pairs.of(self._indexed, self._codes == code)

    def warm(self, train: Pairs, validation: Pairs) -> Scenario:
        """Returns the warm scenario."""
        known, found = train.whole(), validation.whole()
        both = known.maximum(found)
        candidates = self._warm_items()
        return Scenario(
            validation=Part(known=known, relevant=found, candidates=candidates),
            test=Part(known=both, relevant=self.pairs(WARM, "test").whole(), candidates=candidates),
        )

    def cold_items(self, train: Pairs, rng: np.random.Generator) -> tuple[Scenario, bool]:
        """Returns the scenario, and whether its validation part was drawn."""
        *items, made = self.halves_of_cold_items(rng)
        test = self.pairs(COLD_ITEMS, "test")
        validation = self.pairs(COLD_ITEMS, "validation")
        if made:
            chosen = np.isin(test.items, items[0])
            validation, test = test.where(chosen), test.where(~chosen)
        known = train.whole()
        parts = [
            Part(known=known, relevant=pairs.whole(), candidates=candidates)
            for pairs, candidates in zip((validation, test), items, strict=True)
        ]
        return Scenario(*parts), made

    def halves_of_cold_items(
        self, rng: np.random.Generator
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], bool]:
        """Returns the cold items of validation and of test, and whether they were drawn."""
        found = [
            np.unique(self.pairs(COLD_ITEMS, part).items).astype(np.int64)
            for part in ("validation", "test")
        ]
        made = not len(found[0])
        validation, test = halves(found[1], len(found[1]), rng) if made else found
        return validation, test, made

    def cold_users(self, rng: np.random.Generator, known: int) -> tuple[Scenario, bool]:
        """Returns the scenario, and whether its validation part was drawn."""
        validation, test = self.pairs(COLD_USERS, "validation"), self.pairs(COLD_USERS, "test")
        made = not len(validation)
        if made:
            users = np.unique(test.users).astype(np.int64)
            first, _ = halves(users, len(users), rng)
            chosen = np.isin(test.users, first)
            validation, test = test.where(chosen), test.where(~chosen)
        parts = []
        for pairs in (validation, test):
            first_ones = pairs.first(known, np.ones(len(pairs), np.bool_))
            parts.append(
                Part(
                    known=pairs.matrix(first_ones),
                    relevant=pairs.matrix(~first_ones),
                    candidates=self._warm_items(),
                )
            )
        return Scenario(*parts), made

    def _warm_items(self) -> NDArray[np.int64] | None:
        """Returns the items that are not in the scenario of cold items; None for all."""
        if COLD_ITEMS not in self.scenarios:
            return None
        cold = np.zeros(self._indexed.shape[1], np.bool_)
        for part in ("validation", "test"):
            cold[self.pairs(COLD_ITEMS, part).items] = True
        return np.flatnonzero(~cold)
