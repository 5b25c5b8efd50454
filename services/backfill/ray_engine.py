"""Runs partitions as tasks of Ray Data, which has the scheduling, retries and backpressure.

This side only says what a task is and reads what comes back. A partition whose node is lost runs
again elsewhere, and goes on from its journal.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import sys
import traceback
from functools import partial
from typing import TYPE_CHECKING, Any

from services.backfill.errors import BackfillError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

_OBJECT_STORE_BYTES = 100 * 2**20
"""For results, which are small. Ray's own choice is a third of the memory."""

_CONNECT_S = 10.0


def run(
    partitions: Sequence[int],
    work: Callable[[int], dict[str, Any]],
    *,
    address: str | None = None,
    concurrency: int | None = None,
) -> Generator[dict[str, Any]]:
    """Yields the result of every partition once, as they finish, in whatever order.

    Closing the generator cancels what runs. A cluster of this call's own ends with it; another one
    is left as it is. In the meantime `sys.stdout` is standard error.

    Args:
        partitions: What to call `work` with.
        work: Runs on the nodes, which have the same packages installed. It is pickled, its result
            comes back as JSON; an exception that it raises ends the run.
        address: `host:port` of a cluster that this machine belongs to; without one, what
            RAY_ADDRESS says, and else a cluster of this machine only.
        concurrency: Partitions at a time, at most. Without it, as many as there are CPUs.

    Raises:
        BackfillError: Ray is not installed, there is no such cluster, or a partition failed.
    """
    if not partitions:
        return
    # Ray prints on standard output which tasks it repeats. That is for what the job says at its end.
    with contextlib.redirect_stdout(sys.stderr), _cluster(address, concurrency):
        import ray
        from ray.data import DataContext, TaskPoolStrategy

        context = DataContext.get_current().copy()
        context.enable_progress_bars = False
        context.print_on_execution_start = False
        context.max_errored_blocks = 0
        with DataContext.current(context):
            numbers = ray.data.from_items(list(partitions), override_num_blocks=len(partitions))
            # Ray Data repeats a task whose node or process is lost, as often as need be.
            outcomes = numbers.map(
                partial(_outcome, work=work), compute=TaskPoolStrategy(concurrency), num_cpus=1
            )
        batch: Any
        try:
            # Prefetching would hold a result back until the next one is there.
            for batch in outcomes.iter_batches(
                batch_size=None, batch_format="pyarrow", prefetch_batches=0
            ):
                for outcome in batch["outcome"].to_pylist():
                    yield _result(json.loads(outcome))
        except ray.exceptions.RayError as error:
            raise BackfillError(
                f"Ray failed: {error}. See to the cluster, then start the same command again"
            ) from error


@contextlib.contextmanager
def _cluster(address: str | None, concurrency: int | None) -> Iterator[None]:
    # Read on import. Nodes have the packages: uv is to install nothing there.
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Its own handler aborts the process on SIGTERM, where a job is to end in order.
    os.environ.setdefault("RAY_DISABLE_FAILURE_SIGNAL_HANDLER", "1")
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise BackfillError(
            "Ray is not installed here: python deploy/install.py ray, or pip install 'reclm[ray]'"
        ) from error

    logging.getLogger("ray.data").setLevel(logging.WARNING)
    logging.getLogger("ray.data._internal.progress").setLevel(logging.ERROR)
    if ray.is_initialized():
        yield
        return
    where = address or os.environ.get("RAY_ADDRESS") or "local"
    own = where == "local"
    _check(where)
    try:
        ray.init(
            where,
            num_cpus=concurrency if own else None,
            object_store_memory=_OBJECT_STORE_BYTES if own else None,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        hint = "" if own else ". If it has a token: set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN here"
        raise BackfillError(f"cannot use the Ray cluster {where}: {error}{hint}") from error
    try:
        yield
    finally:
        ray.shutdown()


def _check(address: str) -> None:
    """Raises BackfillError at once where Ray would try for minutes, or not say what is wrong."""
    if "://" in address:
        raise BackfillError(
            f"{address} is for Ray's client: give host:port instead, and start the job on a machine "
            "of the cluster, or with `ray job submit`"
        )
    host, colon, port = address.rpartition(":")
    if not colon:
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_S).close()
    except (OSError, ValueError) as error:
        raise BackfillError(
            f"there is no Ray cluster at {address}: {error}. `ray start --head` says the address "
            "of the one that it starts"
        ) from error


def _outcome(row: dict[str, Any], *, work: Callable[[int], dict[str, Any]]) -> dict[str, str]:
    """Calls `work` on a node. A failure is an outcome too: Ray then has nothing to retry."""
    partition = int(row["item"])
    outcome: dict[str, Any] = {"partition": partition}
    try:
        outcome["result"] = work(partition)
        # JSON, because Arrow would give rows of different shapes a common one.
        return {"outcome": json.dumps(outcome)}
    except Exception as error:  # noqa: BLE001 - raised again where the results are read
        known = isinstance(error, BackfillError)
        why = str(error) if known else f"{type(error).__name__}: {error}"
        failure = {"why": why, "traceback": traceback.format_exc()}
        return {"outcome": json.dumps({"partition": partition, "failure": failure})}


def _result(outcome: dict[str, Any]) -> dict[str, Any]:
    failure = outcome.get("failure")
    if failure is not None:
        error = BackfillError(f"partition {outcome['partition']}: {failure['why']}")
        error.add_note(f"On the node:\n{failure['traceback']}")
        raise error
    result: dict[str, Any] = outcome["result"]
    return result
