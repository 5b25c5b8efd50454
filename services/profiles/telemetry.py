"""Prometheus metrics, and logs with one JSON object a line.

Neither contains data of users or items: no history, no profile text, no key.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from contextvars import ContextVar
from datetime import UTC, datetime

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    multiprocess,
)

request_id: ContextVar[str] = ContextVar("request_id", default="-")

LOGGER = logging.getLogger("reclm")

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class Metrics:
    """The service's metrics, in a registry of their own.

    With PROMETHEUS_MULTIPROC_DIR in the environment, `render` returns the sum over all workers of a
    server; without it, the metrics of this process.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.profiles = Counter(
            "reclm_profiles",
            "Profiles answered, by status: generated, cached, stale, degraded.",
            ("kind", "status"),
            registry=self.registry,
        )
        self.commits = Counter(
            "reclm_commits",
            "Profiles made, by outcome in the store: stored, erased, overtaken, outdated, failed.",
            ("outcome",),
            registry=self.registry,
        )
        self.scores = Counter(
            "reclm_scores",
            "Rankings answered, by what was known: training, history, profile, nothing.",
            ("known_by",),
            registry=self.registry,
        )
        self.errors = Counter(
            "reclm_errors",
            "Requests and rows refused or failed.",
            ("code",),
            registry=self.registry,
        )
        self.http_seconds = Histogram(
            "reclm_http_request_seconds",
            "Time to answer an HTTP request.",
            ("route", "status"),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.model_seconds = Histogram(
            "reclm_model_seconds",
            "Time the model server took for one answer.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.model_tokens = Counter(
            "reclm_model_tokens",
            "Tokens, by direction: prompt, completion.",
            ("direction",),
            registry=self.registry,
        )
        self.model_malformed = Counter(
            "reclm_model_malformed",
            "Answers of the model that were not a profile.",
            registry=self.registry,
        )
        self.encoder_batch = Histogram(
            "reclm_encoder_batch_size",
            "Texts encoded together.",
            buckets=(1, 2, 4, 8, 16, 32, 64, 128),
            registry=self.registry,
        )

        self.interactions = Counter(
            "reclm_interactions",
            "Interactions taken in.",
            registry=self.registry,
        )
        self.refreshes = Counter(
            "reclm_refreshes",
            "Refreshes, by outcome: refreshed, unchanged, erased, failed (a try), dead (given up).",
            ("outcome",),
            registry=self.registry,
        )
        # All workers see the same queue.
        self.refreshes_waiting = Gauge(
            "reclm_refreshes_waiting",
            "Users whose profile is to be refreshed, those under way included.",
            registry=self.registry,
            multiprocess_mode="mostrecent",
        )
        self.refresh_lag = Gauge(
            "reclm_refresh_lag_seconds",
            "How long the refresh that waits longest is overdue.",
            registry=self.registry,
            multiprocess_mode="mostrecent",
        )

        self.admissions = Counter(
            "reclm_admissions",
            "Requests for the model: admitted, late (would not be in time), refused (429), "
            "not followed (late, and not made behind the answer either).",
            ("outcome",),
            registry=self.registry,
        )
        self.put_off = Counter(
            "reclm_prompts_put_off",
            "Prompts in the background that were ended for somebody who waits, to run again.",
            registry=self.registry,
        )
        # Workers that have ended do not count: their circuits ended with them.
        self.circuits_open = Gauge(
            "reclm_circuits_open",
            "Workers that leave a dependency alone, because it failed too often in a row.",
            ("dependency",),
            registry=self.registry,
            multiprocess_mode="livesum",
        )
        self.circuit_refusals = Counter(
            "reclm_circuit_refusals",
            "Calls that were not made, because the circuit was open.",
            ("dependency",),
            registry=self.registry,
        )

    def render(self) -> bytes:
        """Returns all metrics in Prometheus' text format."""
        registry = self.registry
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            registry = CollectorRegistry()
            multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "request_id": request_id.get(),
            **getattr(record, "data", {}),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False)


def configure_logging(level: str) -> None:
    """Sends all logs of this process to standard error, one JSON object a line."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for chatty in ("httpx", "httpcore", "uvicorn.access"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
