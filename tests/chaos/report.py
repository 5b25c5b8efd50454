"""What a run leaves: a table for the eye, and `build/chaos.json`."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tests.benchmarks.report import machine, versions

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Sequence
    from pathlib import Path

    from tests.chaos.history import Violation

INVARIANTS = ("lost", "wrong", "erased", "repeated", "slow")
"""All kinds of violations. The table's `wrong` is the sum of all but `lost` and `slow`."""


@dataclass(slots=True)
class FaultSeen:
    """A fault that was caused.

    Attributes:
        lasted_s: The restart of a killed server included.
        recovered_s: After its end; None if the service was not well again in time.
    """

    fault: str
    at_s: float
    lasted_s: float
    recovered_s: float | None


@dataclass(slots=True)
class Result:
    """A run in figures.

    Attributes:
        failed_alone: Requests without a good answer while nothing was wrong with the stack.
        erased: Erasures that were acknowledged.
        accepted: Events that were accepted.
        model_calls: Calls of the model; None where they cannot be counted.
        model_inputs: Different inputs among them.
    """

    command: str
    seed: int
    seconds: float = 0.0
    operations: dict[str, int] = field(default_factory=dict)
    statuses: dict[str, int] = field(default_factory=dict)
    faults: list[FaultSeen] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    violations: list[Violation] = field(default_factory=list)
    failed_alone: int = 0
    erased: int = 0
    accepted: int = 0
    model_calls: int | None = None
    model_inputs: int | None = None

    @property
    def lost(self) -> int:
        return self.count("lost")

    @property
    def wrong(self) -> int:
        return sum(self.count(name) for name in ("wrong", "erased", "repeated"))

    def count(self, invariant: str) -> int:
        """Returns how often an invariant was violated."""
        return sum(violation.invariant == invariant for violation in self.violations)

    def largest(self) -> dict[str, tuple[int, float | None]]:
        """Returns of each fault how often it came, and the largest time to recover from it."""
        found: dict[str, tuple[int, float | None]] = {}
        for one in self.faults:
            count, largest = found.get(one.fault, (0, 0.0))
            known = None if largest is None or one.recovered_s is None else one.recovered_s
            found[one.fault] = (count + 1, None if known is None else max(largest or 0.0, known))
        return dict(sorted(found.items()))


def table(result: Result) -> str:
    """Returns a run as lines of text."""
    requests = sum(result.statuses.values())
    lines = [
        f"{'fault':<16} {'times':>5}  largest time to recover",
        "-" * 45,
        *(
            f"{name:<16} {count:>5}  {'not in time' if s is None else f'{s:.1f} s'}"
            for name, (count, s) in result.largest().items()
        ),
        "",
        f"requests {requests:,} in {result.seconds:,.0f} s: {_counts(result.statuses)}",
        f"by operation: {_counts(result.operations)}",
        f"erasures {result.erased:,}, accepted events {result.accepted:,}",
    ]
    if result.model_calls is not None:
        lines.append(f"model calls {result.model_calls:,} for {result.model_inputs:,} inputs")
    lines += [f"left out: {name}, since {why}" for name, why in result.left_out.items()]
    lines += [
        f"not answered well without a fault: {result.failed_alone}",
        (
            f"faults {len(result.faults)}, lost {result.lost}, wrong {result.wrong}, "
            f"slow to recover {result.count('slow')}"
        ),
    ]
    return "\n".join(lines)


def write(path: Path, result: Result) -> None:
    """Writes a run's figures, in place of those of the run before."""
    document: dict[str, Any] = {
        "command": result.command,
        "date": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "machine": machine(),
        "versions": versions(),
        "seed": result.seed,
        "seconds": round(result.seconds, 1),
        "requests": sum(result.statuses.values()),
        "statuses": result.statuses,
        "operations": result.operations,
        "erasures": result.erased,
        "accepted_events": result.accepted,
        "model_calls": result.model_calls,
        "model_inputs": result.model_inputs,
        "failed_without_a_fault": result.failed_alone,
        "left_out": result.left_out,
        "lost": result.lost,
        "wrong": result.wrong,
        "violations": {name: result.count(name) for name in INVARIANTS},
        "recovery_s": {
            name: {"times": count, "largest": None if s is None else round(s, 2)}
            for name, (count, s) in result.largest().items()
        },
        "faults": [
            {
                "fault": one.fault,
                "at_s": round(one.at_s, 1),
                "lasted_s": round(one.lasted_s, 1),
                "recovered_s": None if one.recovered_s is None else round(one.recovered_s, 2),
            }
            for one in result.faults
        ],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.{os.getpid()}")
    new.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    new.replace(path)


def counted(counter: Counter[str]) -> dict[str, int]:
    """Returns counts by name."""
    return dict(sorted(counter.items()))


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())


def summary(violations: Sequence[Violation]) -> str:
    """Returns the first violations, a line for each."""
    shown = [f"  {one.invariant}: {one.what}" for one in violations[:20]]
    more = [f"  and {len(violations) - 20} more"] if len(violations) > 20 else []
    return "\n".join(shown + more)
