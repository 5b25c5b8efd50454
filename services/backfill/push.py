"""Tells a Prometheus push gateway how a backfill goes: a job ends before anybody could scrape it."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Gauge, push_to_gateway

from services.profiles.telemetry import LOGGER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from services.backfill.tally import Tally

_EVERY_S = 15.0


@dataclass(frozen=True, slots=True)
class Push:
    """Where to, and which kind of profile is made. Trouble with it is logged and stops nothing."""

    gateway: str
    kind: str

    @contextlib.contextmanager
    def of(self, tally: Tally, limit: Callable[[], int] | None) -> Iterator[None]:
        """Pushes every 15 seconds while it is entered, and once more at the end."""
        done = threading.Event()

        def now_and_then() -> None:
            while not done.wait(_EVERY_S):
                self.send(tally, limit)

        thread = threading.Thread(target=now_and_then, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
            self.send(tally, limit)

    def send(self, tally: Tally, limit: Callable[[], int] | None) -> None:
        """Pushes the present state."""
        registry = CollectorRegistry()
        rows = Gauge("reclm_backfill_rows", "Rows by outcome.", ("outcome",), registry=registry)
        for outcome, count in tally.to_dict().items():
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
