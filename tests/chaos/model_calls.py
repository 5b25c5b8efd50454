"""Single-flight, checked from the model's own log: one call for each input, unless there is a reason.

A second call for the same input under the same version has a reason when a fault, an erasure of the
subject, a newer history of the subject or the failure of a request came between the two, or when the
service had given the first one up. None of these is a reason for more.
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
class Counted:
    """How often the model was asked.

    Attributes:
        inputs: Different inputs, those of each version counted apart.
        most: Most calls for one input.
    """

    calls: int
    inputs: int
    most: int
    violations: list[Violation]


@dataclass(frozen=True, slots=True)
class Reasons:
    """What explains that the model was asked again.

    Attributes:
        windows: The faults of the run.
        erasures: All erasures that were tried, by subject.
        first_sent: When each content was first sent.
        failed: When a request for a profile failed, by subject.
    """

    windows: Sequence[Window]
    erasures: Mapping[int, Sequence[Call]]
    first_sent: Mapping[Content, float]
    failed: Mapping[int, Sequence[float]]


def check(calls: Iterable[ModelCall], reasons: Reasons) -> Counted:
    """Counts calls of the model, and finds those that nothing explains.

    Args:
        calls: In order of their beginnings.
        reasons: What explains a call.
    """
    by_input: dict[tuple[str, str], list[ModelCall]] = {}
    for call in calls:
        by_input.setdefault((call.input, call.model), []).append(call)
    of_life: dict[tuple[int, int], list[Content]] = {}
    for content in reasons.first_sent:
        of_life.setdefault(content[:2], []).append(content)
    violations = []
    for (_, model), of_input in by_input.items():
        for earlier, later in itertools.pairwise(of_input):
            if not _explained(earlier, later, reasons, of_life):
                together = earlier.ended is None or later.begun < earlier.ended
                how = "while it was still answering" if together else "though it had answered"
                what = f"{model} was asked about {later.about} twice, {how}"
                subject = None if later.about is None else later.about.subject
                violations.append(Violation("repeated", what, subject, None))
    return Counted(
        calls=sum(map(len, by_input.values())),
        inputs=len(by_input),
        most=max(map(len, by_input.values()), default=0),
        violations=violations,
    )


def _explained(
    earlier: ModelCall,
    later: ModelCall,
    reasons: Reasons,
    of_life: Mapping[tuple[int, int], Sequence[Content]],
) -> bool:
    if earlier.given_up:
        return True
    between = earlier.begun, later.begun
    if any(window.touches(*between, after_s=LASTS_S) for window in reasons.windows):
        return True
    content = later.about
    if content is None:
        return False
    erased = any(
        erasure.begun <= later.begun and (erasure.ended is None or erasure.ended > earlier.begun)
        for erasure in reasons.erasures.get(content.subject, ())
    )
    failed = any(
        earlier.begun <= at <= later.begun for at in reasons.failed.get(content.subject, ())
    )
    newer = any(
        other.part > content.part and reasons.first_sent[other] <= later.begun
        for other in of_life.get(content[:2], ())
    )
    return erased or failed or newer
