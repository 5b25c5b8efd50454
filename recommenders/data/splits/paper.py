"""The split that the release of RecLM tests on; only for a comparison with the paper's table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from recommenders.data.split import COLD_ITEMS, FULL, Part, Scenario
from recommenders.data.splits.plan import Plan
from recommenders.data.splits.published import Published

if TYPE_CHECKING:
    from recommenders.data.dataset import Dataset
    from recommenders.data.split import Split
    from recommenders.data.splits.pairs import Pairs


@dataclass(frozen=True, kw_only=True, slots=True)
class PaperSplit(Plan):
    """All published training pairs, and two tests: full-shot, and only the new items.

    Full-shot is the evaluation of the release's code with `tstMat_zero_`: the published test parts
    on known and on new items together, ranked among the items that occur in them. That code selects
    by the test part and has no validation part, so the test part is also the validation part here.
    """

    kind: ClassVar[str] = "paper"

    def divide(self, dataset: Dataset) -> Split:
        """Divides a dataset.

        Raises:
            DatasetError: The column `part` is missing or has no test part.
        """
        published = Published(dataset)
        train = published.train
        tests = {
            FULL: [published.pairs(name, "test") for name in sorted(published.scenarios)],
            COLD_ITEMS: [published.pairs(COLD_ITEMS, "test")],
        }
        scenarios = {}
        for name, pairs in tests.items():
            part = _part(train, pairs)
            scenarios[name] = Scenario(validation=part, test=part)
        return train.split(self.name, np.ones(len(train), np.bool_), scenarios)


def _part(train: Pairs, tests: list[Pairs]) -> Part:
    relevant = tests[0].whole()
    for more in tests[1:]:
        relevant = relevant.maximum(more.whole())
    return Part(
        known=train.whole(),
        relevant=relevant,
        candidates=np.unique(relevant.indices).astype(np.int64),
    )
