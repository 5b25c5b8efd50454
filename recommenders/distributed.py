"""Processes that train one model together, as `accelerate launch` or `torchrun` starts them.

Each has the whole model and the whole data, draws the same batches, and works on a share of each;
gradients are added up. So a step is that of one process with the whole batch, but for what a model
draws for a share by itself (dropout, noise), and for one that holds what is in a batch against each
other (SimGCL, AlphaRec).
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
"""How long processes wait for one: for the leader, who validates while the others wait."""


@dataclass(frozen=True, slots=True)
class DistributedContext:
    """One of the processes, and how it speaks to the others.

    Attributes:
        device: Where this process works.
        state: Of accelerate; None for a process that is alone.
    """

    device: torch.device
    state: PartialState | None = None

    @property
    def size(self) -> int:
        """How many processes there are."""
        return 1 if self.state is None else self.state.num_processes

    @property
    def rank(self) -> int:
        """Which of them this is, from 0."""
        return 0 if self.state is None else self.state.process_index

    @property
    def leads(self) -> bool:
        """Whether this is the process that validates, writes and speaks."""
        return self.rank == 0

    def share(self, batch: Batch) -> tuple[Batch, float]:
        """Returns what of a batch is this process's, and how much of the batch's mean that is.

        A batch that is too small for all to have some is worked on by all, for as much less.
        """
        if len(batch) < self.size:
            return batch, 1 / self.size
        bounds = [len(batch) * rank // self.size for rank in (self.rank, self.rank + 1)]
        own = batch.part(*bounds)
        return own, len(own) / len(batch)

    def add_up(self, model: nn.Module, terms: Mapping[str, float]) -> dict[str, float]:
        """Makes gradients the sums over all processes, in place; returns the sums of the terms."""
        if self.state is None:
            return dict(terms)
        for parameter in model.parameters():
            if parameter.grad is not None:
                torch.distributed.all_reduce(parameter.grad)
        values = torch.tensor(list(terms.values()), dtype=torch.float64, device=self.device)
        torch.distributed.all_reduce(values)
        return dict(zip(terms, values.tolist(), strict=True))

    def from_leader(self, work: Callable[[], T]) -> T:
        """Has the leader work something out, and returns it in every process.

        Raises:
            Exception: What the leader's work raised, in every process: none waits for ever.
        """
        if self.state is None:
            return work()
        found: list[Any] = [None, None]
        if self.leads:
            try:
                found[0] = work()
            except Exception as error:  # noqa: BLE001 - raised below, here and elsewhere
                found[1] = error
        torch.distributed.broadcast_object_list(found, src=0, device=self.device)
        if found[1] is not None:
            raise found[1]
        result: T = found[0]
        return result

    def leader_first(self, work: Callable[[], T]) -> T:
        """Does the same work in every process, in the leader first, such as what fills a cache.

        Raises:
            Exception: As `from_leader` does.
        """
        results: list[T] = []
        self.from_leader(lambda: results.append(work()))
        return results[0] if results else work()


SINGLE_PROCESS = DistributedContext(torch.device("cpu"))


@contextlib.contextmanager
def joined(device: str = "cpu") -> Iterator[DistributedContext]:
    """Joins the team that this process was started in, if any, and leaves it at the end.

    Args:
        device: `cpu`, or `cuda`, of which the processes of a team take one card each, in turn.

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
        PartialState._reset_state()  # noqa: SLF001 - else it could not be joined again


def processes_started() -> int:
    """Returns how many processes the launcher says that it started; 1 without a launcher."""
    return int(os.environ.get("WORLD_SIZE", "1"))
