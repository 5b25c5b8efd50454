"""Data-parallel training, for processes started by `accelerate launch` or `torchrun`.

Each process has the whole model and the whole data set, draws the same batches and computes the
gradients of its share of each batch; the gradients are then summed over processes. A step is
therefore the same as in a single process with the whole batch, with two exceptions: what a model
draws for its share (dropout, noise), and losses that compare the interactions of a batch with one
another (SimGCL, AlphaRec).
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from recommenders.models.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from accelerate import PartialState
    from torch import nn

    from recommenders.models.gradient import Batch

T = TypeVar("T")

_PATIENCE = timedelta(hours=12)
"""Timeout of a collective operation: the others wait while the main process validates."""


@dataclass(frozen=True, slots=True)
class DistributedContext:
    """This process's place among the processes, and its collective operations.

    Attributes:
        device: The device that this process computes on.
        state: Accelerate's state; None for a single process.
    """

    device: torch.device
    state: PartialState | None = None

    @property
    def world_size(self) -> int:
        """Number of processes."""
        return 1 if self.state is None else self.state.num_processes

    @property
    def rank(self) -> int:
        """Index of this process, from 0."""
        return 0 if self.state is None else self.state.process_index

    @property
    def is_main_process(self) -> bool:
        """Whether this process validates, writes files and prints."""
        return self.rank == 0

    def share(self, batch: Batch) -> tuple[Batch, float]:
        """Returns this process's share of a batch, and the weight of the share's mean.

        If the batch has fewer interactions than there are processes, each process takes the whole
        batch, with a weight of 1 / `world_size`.
        """
        if len(batch) < self.world_size:
            return batch, 1 / self.world_size
        bounds = [len(batch) * rank // self.world_size for rank in (self.rank, self.rank + 1)]
        own = batch.part(*bounds)
        return own, len(own) / len(batch)

    def all_reduce(self, model: nn.Module, terms: Mapping[str, float]) -> dict[str, float]:
        """Sums gradients over processes, in place, and returns the sums of the loss terms."""
        if self.state is None:
            return dict(terms)
        for parameter in model.parameters():
            if parameter.grad is not None:
                torch.distributed.all_reduce(parameter.grad)
        values = torch.tensor(list(terms.values()), dtype=torch.float64, device=self.device)
        torch.distributed.all_reduce(values)
        return dict(zip(terms, values.tolist(), strict=True))

    def from_main(self, work: Callable[[], T]) -> T:
        """Calls a function in the main process, and returns its result in every process.

        Raises:
            Exception: What the function raised, in every process, so that none waits forever.
        """
        if self.state is None:
            return work()
        found: list[Any] = [None, None]
        if self.is_main_process:
            try:
                found[0] = work()
            except Exception as error:  # noqa: BLE001 - raised below, here and elsewhere
                found[1] = error
        torch.distributed.broadcast_object_list(found, src=0, device=self.device)
        if found[1] is not None:
            raise found[1]
        result: T = found[0]
        return result

    def main_first(self, work: Callable[[], T]) -> T:
        """Calls a function in every process, in the main process first, for instance to fill a cache.

        Raises:
            Exception: As in `from_main`.
        """
        results: list[T] = []
        self.from_main(lambda: results.append(work()))
        return results[0] if results else work()


SINGLE_PROCESS = DistributedContext(torch.device("cpu"))


@contextlib.contextmanager
def joined(device: str = "cpu") -> Iterator[DistributedContext]:
    """Joins the process group that the launcher started, if any, and leaves it at the end.

    Args:
        device: `cpu` or `cuda`; with `cuda` each process takes the card of its local rank.

    Raises:
        ModelError: There is no such device.
    """
    if device != "cpu" and not torch.cuda.is_available():
        raise ModelError(f"there is no {device} here: torch sees no GPU. Leave `--device` out")
    if processes_started() == 1:
        yield DistributedContext(torch.device(device))
        return
    from accelerate import PartialState

    state = PartialState(cpu=device == "cpu", timeout=_PATIENCE)
    try:
        yield DistributedContext(state.device, state)
    finally:
        state.destroy_process_group()
        PartialState._reset_state()  # noqa: SLF001 - otherwise a second `joined` would fail


def processes_started() -> int:
    """Returns the number of processes that the launcher started; 1 without a launcher."""
    return int(os.environ.get("WORLD_SIZE", "1"))
