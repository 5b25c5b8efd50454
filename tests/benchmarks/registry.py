"""What a benchmark is, and which there are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.benchmarks import (
    backfill,
    defaults,
    generation,
    hits,
    hostile,
    ingest,
    memory,
    overload,
    parity,
    recommenders,
    scoring,
    training,
)
from tests.benchmarks.figures import Figure
from tests.benchmarks.stack import Stack

Measure = Callable[[Stack], list[Figure]]


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A measurement, and the groups under which `--only` finds it."""

    name: str
    groups: frozenset[str]
    measure: Measure


BENCHMARKS = (
    Benchmark("generation", frozenset({"serving"}), generation.measure),
    Benchmark("hits", frozenset({"serving"}), hits.measure),
    Benchmark("memory", frozenset({"serving", "redis"}), memory.measure),
    Benchmark("hostile", frozenset({"hostile"}), hostile.measure),
    Benchmark("scoring", frozenset({"scoring"}), scoring.measure),
    Benchmark("training", frozenset({"training"}), training.measure),
    Benchmark("backfill throughput", frozenset({"backfill"}), backfill.throughput),
    Benchmark("backfill resume", frozenset({"backfill"}), backfill.resume),
    Benchmark("overload", frozenset({"overload"}), overload.crowds),
    Benchmark("overload beside a backfill", frozenset({"overload"}), overload.beside_backfill),
    Benchmark("overload without deadlines", frozenset({"overload"}), overload.promises),
    Benchmark("ingest", frozenset({"ingest"}), ingest.measure),
    Benchmark("recommenders", frozenset({"recommenders"}), recommenders.measure),
    Benchmark("defaults", frozenset({"defaults"}), defaults.measure),
    Benchmark("parity", frozenset({"parity"}), parity.measure),
)
"""In the order in which they run: the first one leaves profiles in Redis that the others use."""

GROUPS = tuple(sorted(frozenset[str]().union(*(benchmark.groups for benchmark in BENCHMARKS))))
