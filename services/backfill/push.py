"""Pushes the progress of a backfill to Prometheus: a job ends before it could be scraped."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Gauge, push_to_gateway

from services.profiles.telemetry import LOGGER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from services.backfill.outcomes import OutcomeCounts

_EVERY_S = 15.0


@dataclass(frozen=True, slots=True)
class Push:
    """A push gateway, and the kind of profile that is made. Its failures are logged, and stop nothing."""

    gateway: str
    kind: str

    @contextlib.contextmanager
    def of(self, counts: OutcomeCounts, limit: Callable[[], int] | None) -> Iterator[None]:
        """Pushes every 15 seconds while it is entered, and once more at the end."""
        done = threading.Event()

        def now_and_then() -> None:
            while not done.wait(_EVERY_S):
                self.send(counts, limit)

        thread = threading.Thread(target=now_and_then, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
            self.send(counts, limit)

    def send(self, counts: OutcomeCounts, limit: Callable[[], int] | None) -> None:
        """Pushes the present state."""
        registry = CollectorRegistry()
        rows = Gauge("reclm_backfill_rows", "Rows by outcome.", ("outcome",), registry=registry)
        for outcome, count in counts.to_dict().items():
            rows.labels(outcome).set(count)
        if limit is not None:
            Gauge("reclm_backfill_concurrency", "Requests at a time.", registry=registry).set(
                limit()
            )
        try:
            push_to_gateway(
                self.gateway,
                job="reclm_backfill",
                registry=registry,
                grouping_key={"kind": self.kind},
                timeout=10,
            )
        except OSError as error:
            LOGGER.warning("the push gateway does not answer", extra={"data": {"why": str(error)}})
