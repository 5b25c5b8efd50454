"""Single-flight, judged from the model's own log: one call for each input, unless there is a reason.

A second call for the same input under the same version has a reason when a fault, an erasure of the
subject, a newer history of the subject or the failure of a request came between the two. None of
these is a reason for more.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.chaos.history import Violation

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tests.chaos.history import Call, Window
    from tests.chaos.model import ModelCall
    from tests.chaos.subjects import Content

LASTS_S = 15.0
"""For so long after a fault, what it cut short may be asked again: leases, retries and timeouts."""


@dataclass(frozen=True, slots=True)
class Flights:
    """How often the model was asked.

    Attributes:
        inputs: Different inputs, those of each version counted apart.
        most: Most calls for one input.
    """

    calls: int
    inputs: int
    most: int
    violations: list[Violation]


def judge(
    calls: Iterable[ModelCall],
    *,
    windows: Sequence[Window],
    erasures: Mapping[int, Sequence[Call]],
    first_sent: Mapping[Content, float],
    failed: Mapping[int, Sequence[float]],
) -> Flights:
    """Counts calls of the model, and finds those that nothing explains.

    Args:
        calls: In order of their beginnings.
        windows: The faults of the run.
        erasures: All erasures that were tried, by subject.
        first_sent: When each content was first sent.
        failed: When a request for a profile failed, by subject.
    """
    by_input: dict[tuple[str, str], list[ModelCall]] = {}
    for call in calls:
        by_input.setdefault((call.input, call.model), []).append(call)
    newest: dict[tuple[int, int], list[Content]] = {}
    for content in first_sent:
        newest.setdefault(content[:2], []).append(content)

    def explained(earlier: ModelCall, later: ModelCall) -> bool:
        if any(window.touches(earlier.begun, later.begun, after_s=LASTS_S) for window in windows):
            return True
        content = later.about
        if content is None:
            return False
        if any(earlier.begun <= at <= later.begun for at in failed.get(content.subject, ())):
            return True
        if any(
            erasure.begun <= later.begun
            and (erasure.ended is None or erasure.ended > earlier.begun)
            for erasure in erasures.get(content.subject, ())
        ):
            return True
        return any(
            other.part > content.part and first_sent[other] <= later.begun
            for other in newest.get(content[:2], ())
        )

    violations = []
    for (_, model), of_input in by_input.items():
        for earlier, later in itertools.pairwise(of_input):
            if not explained(earlier, later):
                together = earlier.ended is None or later.begun < earlier.ended
                how = "while it was still answering" if together else "though it had answered"
                what = f"{model} was asked about {later.about} twice, {how}"
                subject = None if later.about is None else later.about.subject
                violations.append(Violation("repeated", what, subject, None))
    return Flights(
        calls=sum(map(len, by_input.values())),
        inputs=len(by_input),
        most=max(map(len, by_input.values()), default=0),
        violations=violations,
    )
