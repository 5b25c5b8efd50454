"""What was asked and answered, in order, with times: the ground on which answers are checked."""

from __future__ import annotations

import itertools
import json
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tests.chaos.subjects import Content

KEPT = 400
"""Calls that are kept of each subject, for its story."""

STORIES = 5_000
"""Subjects of whom calls are kept: those who were asked about last."""


@dataclass(slots=True)
class Call:
    """A request, and its answer once there is one. Times are of the machine's monotonic clock.

    Attributes:
        operation: The name of what was asked, a key of `documents.ALLOWED`.
        kind: What the recovery of the service is measured by; None for what does not count.
        subject: The number of the subject asked about; None for calls that are about none.
        life: The subject's life when the request was begun.
        content: What the request itself brought.
        body: What was sent, in short.
        status: None if no answer came.
        why: Why no answer came.
        headers: Of the answer, in small letters.
        answer: The JSON of the answer; None if it had none.
        damaged: The answer was not HTTP or not JSON.
    """

    number: int
    operation: str
    kind: str | None
    subject: int | None
    life: int
    content: Content | None
    body: Any
    begun: float
    ended: float | None = None
    status: int | None = None
    why: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    answer: Any = None
    damaged: bool = False

    def under_way(self, begun: float, ended: float) -> bool:
        """Returns whether the request may have been carried out between two times.

        A request without an answer may be carried out at any time after its beginning, and so may
        an event whose answer says that the store did not answer.
        """
        if self.begun > ended:
            return False
        if self.ended is None or self.status is None:
            return True
        return self.ended >= begun or (self.operation == "event" and self.status >= 500)


@dataclass(slots=True)
class Window:
    """A time in which something was wrong with the stack on purpose.

    Attributes:
        ended: When it was over, the restart of a server included; None while it lasts.
    """

    fault: str
    begun: float
    ended: float | None = None

    def touches(self, begun: float, ended: float, *, after_s: float = 0.0) -> bool:
        """Returns whether it lasts, or ended less than `after_s` before, between two times."""
        return self.begun <= ended and (self.ended is None or self.ended + after_s >= begun)


@dataclass(frozen=True, slots=True)
class Violation:
    """An invariant that did not hold.

    Attributes:
        invariant: `lost`, `wrong`, or what else the table counts.
        what: One sentence.
        subject: Whose story tells how it came to it.
        call: The number of the call whose answer showed it; None where no single one did.
    """

    invariant: str
    what: str
    subject: int | None
    call: int | None


class History:
    """All calls of a run, counted, and the last ones of each subject."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self.statuses: Counter[str] = Counter()
        self.operations: Counter[str] = Counter()
        self._by_subject: dict[int, deque[Call]] = {}

    def begin(
        self,
        operation: str,
        *,
        kind: str | None = None,
        subject: int | None = None,
        life: int = 0,
        content: Content | None = None,
        body: Any = None,
    ) -> Call:
        """Enters a request that is about to be sent."""
        call = Call(
            number=next(self._numbers),
            operation=operation,
            kind=kind,
            subject=subject,
            life=life,
            content=content,
            body=body,
            begun=time.monotonic(),
        )
        if subject is not None:
            story = self._by_subject.pop(subject, None) or deque(maxlen=KEPT)
            story.append(call)
            self._by_subject[subject] = story
            if len(self._by_subject) > STORIES:
                del self._by_subject[next(iter(self._by_subject))]
        return call

    def end(self, call: Call) -> None:
        """Enters that a request has its answer, or will have none."""
        call.ended = time.monotonic()
        self.operations[call.operation] += 1
        self.statuses["none" if call.status is None else str(call.status)] += 1

    def story(self, subject: int) -> list[Call]:
        """Returns the last calls about a subject, in order of their beginnings."""
        return list(self._by_subject.get(subject, ()))


def write_story(
    path: Path,
    violations: Sequence[Violation],
    calls: Sequence[Call],
    windows: Sequence[Window],
    *,
    since: float,
) -> None:
    """Writes how it came to violations: what was asked and answered, with the faults between.

    Args:
        path: The file, which is replaced.
        violations: All of one subject.
        calls: The subject's, in order.
        windows: All faults.
        since: The beginning of the run, from which times are counted.
    """
    lines = [f"VIOLATED {one.invariant}: {one.what} (call {one.call})" for one in violations]
    lines += ["", "Times are seconds since the beginning of the run.", ""]
    entries = [(call.begun, _call_line(call, since)) for call in calls]
    for window in windows:
        entries.append((window.begun, f"{window.begun - since:9.3f}  ---- {window.fault} begins"))
        if window.ended is not None:
            entries.append((window.ended, f"{window.ended - since:9.3f}  ---- {window.fault} over"))
    lines += [line for _, line in sorted(entries)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _call_line(call: Call, since: float) -> str:
    took = "open" if call.ended is None else f"{call.ended - call.begun:.3f} s"
    said = call.why if call.status is None else json.dumps(call.answer)
    return (
        f"{call.begun - since:9.3f}  call {call.number} {call.operation} (life {call.life}) "
        f"{json.dumps(call.body)}: {call.status} after {took}: {said[:1500]}"
    )
