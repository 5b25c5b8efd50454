"""The training loop of all models that are trained by gradient descent.

The budget is counted in optimiser steps, because an epoch is no measure of training: with a batch
as large as the data it is a single step. An epoch takes each training interaction once, in random
order, with its negatives. Users who chose every item that anybody chose have no negatives, and are
left out. There is no Python loop over interactions and no dense matrix. Memory is needed for:

- an interaction: 12 bytes here (user, item, position in the epoch's order), 8 in the matrix, and 20
  in the graph of a graph model, with about 16 more for each of SGL's two views;
- a parameter: 16 bytes (itself, its gradient, Adam's two moments), and 4 more for each
  best state with validation; Adam is dense, so every batch reads and writes whole tables;
- a propagation: about 6 tables of the size of the embeddings during a batch;
- text and profiles: 4 bytes a number in the inputs and 4 in the model.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import math
import time
import zlib
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from pydantic import Field

from recommenders.checkpoints import (
    Checkpoint,
    copied,
    optimizer_tensors,
    pack,
    restore_optimizer,
    restore_rng,
    unpack,
)
from recommenders.distributed import SINGLE_PROCESS, DistributedContext
from recommenders.models.base import ModelConfig
from recommenders.models.errors import ModelError
from recommenders.models.gradient import Batch
from recommenders.negative_sampling import with_negatives
from recommenders.training_log import Best, History, OpenRow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from torch import Tensor

    from recommenders.models.gradient import GradientModel
    from recommenders.negative_sampling import Draw
    from recommenders.training_log import Row

    Validate = Callable[[GradientModel[Any]], float | Mapping[str, float]]

_SINGLE = "validation"
"""Name of a single metric."""


_EPOCH_STEPS = 32
"""Steps that an epoch has at least, where the batch is chosen by the data."""
_BATCHES = 256, 65_536
"""Bounds of such a batch."""


class TrainerConfig(ModelConfig):
    """Options of training. docs/decisions/0028-steps.md says how the defaults were found.

    Attributes:
        max_steps: The budget in optimiser steps.
        batch_size: Interactions in an optimiser step, of all processes together; by default
            `fitting_batch` of the data.
        accumulate: Number of pieces of a batch whose gradients are accumulated, to save memory.
            The step is the same, except for models whose loss compares a batch's interactions.
        learning_rate: Of Adam.
        weight_decay: L2 penalty: this times the parameter is added to its gradient. By default the
            model's own, as in RecLM's code.
        eval_steps: Optimiser steps between validations.
        patience: Training ends after so many validations in a row in which no metric improves;
            None for no early stopping.
        precision: `bfloat16` computes matrix products in that type; parameters stay float32.
        deterministic: Refuse operations that are not deterministic. All are on a CPU; on a GPU
            torch asks for CUBLAS_WORKSPACE_CONFIG=:4096:8.
    """

    max_steps: int = Field(10_000, ge=1)
    batch_size: int | None = Field(None, ge=1)
    accumulate: int = Field(1, ge=1)
    learning_rate: float = Field(5e-3, gt=0)
    weight_decay: float | None = Field(None, ge=0)
    eval_steps: int = Field(100, ge=1)
    patience: int | None = Field(20, ge=1)
    precision: Literal["float32", "bfloat16"] = "float32"
    deterministic: bool = False


def fitting_batch(interactions: int) -> int:
    """Returns the batch size for data of this size.

    It is the largest power of two with which an epoch has 32 steps, from 256 to 65,536.
    """
    least, most = _BATCHES
    return min(max(1 << int(math.log2(max(1, interactions / _EPOCH_STEPS))), least), most)


def train(
    model: GradientModel[Any],
    config: TrainerConfig,
    *,
    draw: Draw,
    rng: np.random.Generator,
    validate: Validate | None = None,
    checkpoint: Path | None = None,
    context: DistributedContext = SINGLE_PROCESS,
) -> History:
    """Trains a model, and leaves it with its best parameters, ready to score.

    With several validation metrics, the returned log has the best parameters by each, and the model
    is left with those of the first.

    Args:
        model: Is moved to the device of `context`; the same in all processes.
        config: The options.
        draw: Draws the negatives; see `recommenders.negative_sampling` for data with new items.
        rng: Of `numpy.random.default_rng`; source of the order, the negatives and all noise.
        validate: Returns a metric, or several by name, always the same ones; higher is better. It
            is called in the main process only. Without it the parameters of the last step count.
        checkpoint: A file that the main process writes at the end of an epoch, if `eval_steps` have
            passed since it last did. If it exists, training resumes from it with the same result as
            without the interruption, whatever the state of `rng`. All processes must have access
            to it.
        context: The processes that train the model together.

    Raises:
        ModelError: There are no interactions to learn from; the checkpoint is damaged or of another
            run; or a loss or a validation metric is not finite. The model then has the parameters
            from before that batch.
    """
    with _determinism(config.deterministic):
        run = _Run(model.to(context.device), config, draw, rng, context)
        if checkpoint is not None and context.from_main(checkpoint.exists):
            run.resume(checkpoint)
        while not run.finished():
            run.epoch(validate, checkpoint)
        return run.close()


class _Run:
    """The state of one training."""

    def __init__(
        self,
        model: GradientModel[Any],
        config: TrainerConfig,
        draw: Draw,
        rng: np.random.Generator,
        context: DistributedContext = SINGLE_PROCESS,
    ) -> None:
        matrix = model.inputs.train
        if not matrix.nnz:
            raise ModelError("there are no interactions to train on")
        self._model, self._config, self._draw, self._rng = model, config, draw, rng
        self._context = context
        self._users, self._items = with_negatives(matrix)
        if not len(self._users):
            raise ModelError("every user chose all items; there are no negatives to draw")
        self._generator = torch.Generator(model.device).manual_seed(int(rng.integers(2**63)))
        # With several processes, draws for an epoch are the same in all, those for a share are not.
        self._own = self._generator if context.world_size == 1 else torch.Generator(model.device)
        self._batch_size = config.batch_size or fitting_batch(len(self._users))
        decay = model.weight_decay if config.weight_decay is None else config.weight_decay
        self._optimizer = torch.optim.Adam(
            model.parameters(), config.learning_rate, weight_decay=decay, fused=True
        )
        self._history = History(budget=config.max_steps, batch_size=self._batch_size)
        self._kept = 0
        self._started = time.process_time()

    def finished(self) -> bool:
        """Returns whether the budget is spent, or training stops early."""
        history, patience = self._history, self._config.patience
        if history.steps >= history.budget:
            return True
        return patience is not None and history.waited >= patience

    def epoch(self, validate: Validate | None, checkpoint: Path | None) -> None:
        """Trains on each interaction once, or until training ends; a checkpoint is of a whole epoch."""
        history, config = self._history, self._config
        started = time.perf_counter()
        self._model.train()
        self._begin_epoch()
        for batch in self._batches():
            terms = self._step(batch, checkpoint)
            history.steps += 1
            history.open.add(terms, len(batch), time.perf_counter() - started)
            if not history.steps % config.eval_steps or history.steps == history.budget:
                history.close_row(len(self._users))
                if validate is not None:
                    self.validate(validate)
                if self.finished():
                    break
                self._model.train()
            started = time.perf_counter()
        whole = not history.steps % -(-len(self._users) // self._batch_size)
        due = self.finished() or history.steps - self._kept >= config.eval_steps
        if checkpoint is not None and whole and due:
            self.keep(checkpoint)

    def _begin_epoch(self) -> None:
        self._model.begin_epoch(self._generator)
        if self._own is not self._generator:
            # Derived from the common state, which so stays as it is with a single process.
            state = self._generator.get_state().numpy().tobytes()
            digest = hashlib.sha256(state + bytes(f"{self._context.rank}", "ascii")).digest()
            self._own.manual_seed(int.from_bytes(digest[:7]))

    def validate(self, validate: Validate) -> None:
        """Validates, and keeps the parameters if they are the best."""
        history, step = self._history, self._history.steps
        self._model.eval()
        found = self._context.from_main(lambda: validate(self._model))
        several = isinstance(found, Mapping)
        values = found if isinstance(found, Mapping) else {_SINGLE: found}
        history.waited += 1
        state: Mapping[str, Tensor] | None = None
        for name, value in values.items():
            column = f"{_SINGLE} {name}" if several else _SINGLE
            if not math.isfinite(value):
                raise ModelError(f"{column} after step {step} gave {value}")
            history.rows[-1][column] = float(value)
            best = history.bests.get(name)
            if best is None or value > best.value:
                state = state or copied(self._model.state_dict())
                history.bests[name] = Best(float(value), step, state)
                history.waited = 0

    def close(self) -> History:
        """Restores the best parameters; returns the log."""
        self._model.eval()
        if bests := self._history.bests:
            next(iter(bests.values())).restore(self._model)
        return self._history

    def keep(self, path: Path) -> None:
        """Writes a checkpoint in the main process."""
        self._context.from_main(lambda: self.checkpoint().write(path))
        self._kept = self._history.steps

    def checkpoint(self) -> Checkpoint:
        """Returns the present state."""
        history = self._history
        return Checkpoint(
            tensors={
                **pack("model", self._model.state_dict()),
                **pack("optimizer", optimizer_tensors(self._optimizer)),
                **{
                    key: tensor
                    for name, best in history.bests.items()
                    for key, tensor in pack(_prefix(name), best.parameters).items()
                },
                "generator": self._generator.get_state(),
            },
            state={
                "run": self._fingerprint,
                "rng": self._rng.bit_generator.state,
                "rows": history.rows,
                "open": asdict(history.open),
                "steps": history.steps,
                "bests": {name: [best.value, best.step] for name, best in history.bests.items()},
                "waited": history.waited,
                "cpu_seconds": history.earlier_seconds + time.process_time() - self._started,
            },
        )

    def resume(self, path: Path) -> None:
        """Restores the state from a checkpoint."""
        found = Checkpoint.read(path)
        state, ours = found.state, self._fingerprint
        theirs = state.get("run", {})
        other = sorted(name for name in ours if theirs.get(name) != ours[name])
        if other:
            raise ModelError(
                f"{path} is of another run (other {', '.join(other)});"
                " delete it to start anew, or name another file"
            )
        try:
            self._model.load_state_dict(unpack("model", found.tensors))
        except RuntimeError as error:
            raise ModelError(
                f"{path} has other parameters than the model ({error}); delete it to start anew"
            ) from error
        restore_optimizer(self._optimizer, unpack("optimizer", found.tensors))
        self._generator.set_state(found.tensors["generator"])
        restore_rng(self._rng, state["rng"])
        bests = {
            name: Best(value, step, copied(unpack(_prefix(name), found.tensors)))
            for name, (value, step) in state["bests"].items()
        }
        self._kept = state["steps"]
        self._history = History(
            budget=self._config.max_steps,
            batch_size=self._batch_size,
            rows=state["rows"],
            open=OpenRow(**state["open"]),
            steps=state["steps"],
            bests=bests,
            waited=state["waited"],
            earlier_seconds=state["cpu_seconds"],
        )

    @functools.cached_property
    def _fingerprint(self) -> dict[str, Any]:
        """What must be equal to resume from a checkpoint; `max_steps` and `patience` may differ."""
        inputs = self._model.inputs
        if getattr(self._model.config, "variant", None) == "base":
            inputs = inputs.without_profiles()
        matrix = inputs.train
        pairs = zlib.crc32(matrix.indices.tobytes(), zlib.crc32(matrix.indptr.tobytes()))
        options = self._config.model_dump(exclude={"max_steps", "patience"})
        return {
            "model": self._model.name,
            "model options": self._model.config.model_dump(mode="json"),
            "training options": options,
            "device": self._model.device.type,
            "interactions": [*matrix.shape, matrix.nnz, pairs],
            "features": [
                None if values is None else [*values.shape, zlib.crc32(values.tobytes())]
                for values in (inputs.text, inputs.item_profiles, inputs.user_profiles)
            ],
        }

    def _batches(self) -> Iterator[Batch]:
        order = self._rng.permutation(np.arange(len(self._users), dtype=np.int32))
        each = self._model.negatives
        for start in range(0, len(order), self._batch_size):
            chosen = order[start : start + self._batch_size]
            users = self._users[chosen]
            drawn = self._draw(np.repeat(users, each), self._rng)
            negatives = drawn.reshape(-1) if each == 1 else drawn.reshape(-1, each)
            rows = (users, self._items[chosen], negatives)
            device = self._model.device
            yield Batch(*(torch.from_numpy(each.astype(np.int64)).to(device) for each in rows))

    def _step(self, batch: Batch, checkpoint: Path | None) -> Row:
        """Makes one optimiser step; returns the terms of the loss."""
        sums: Row = {}
        self._optimizer.zero_grad()
        own, part = self._context.share(batch)
        for piece in own.pieces(-(-len(own) // self._config.accumulate)):
            share = part * len(piece) / len(own)
            with torch.autocast(
                self._model.device.type,
                dtype=torch.bfloat16,
                enabled=self._config.precision == "bfloat16",
            ):
                terms = self._model.losses(piece, self._own)
            for name, term in terms.items():
                sums[name] = sums.get(name, 0) + term.item() * share
            total = torch.stack(list(terms.values())).sum() * share
            total.backward()  # type: ignore[no-untyped-call]
        sums = self._context.all_reduce(self._model, sums)
        self._check(sums, checkpoint)
        self._optimizer.step()
        return sums

    def _check(self, terms: Mapping[str, float], checkpoint: Path | None) -> None:
        if all(math.isfinite(value) for value in terms.values()):
            return
        values = ", ".join(f"{name} {value}" for name, value in terms.items())
        kept = (
            f"; {checkpoint} holds the state after step {self._kept}"
            if checkpoint and self._kept
            else ""
        )
        raise ModelError(
            f"{self._model.name}: the loss is not a finite number in step"
            f" {self._history.steps + 1} ({values});"
            f" lower the learning rate of {self._config.learning_rate:g}{kept}"
        )


def _prefix(metric: str) -> str:
    """Returns the prefix of a metric's best parameters in a checkpoint."""
    return f"best {metric}"


@contextlib.contextmanager
def _determinism(asked: bool) -> Iterator[None]:
    """Makes torch refuse operations that are not deterministic, if asked; restores the setting."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(asked or before)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
