"""The training loop of all models that are trained by gradient descent.

An epoch takes each training interaction once, in random order, with one negative each. Users who
chose every item that anybody chose have no negatives, and are left out. There is no Python loop
over interactions and no dense matrix. Memory is needed for:

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
from recommenders.training_log import Best, History

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray
    from scipy import sparse
    from torch import Tensor

    from recommenders.models.gradient import GradientModel
    from recommenders.negative_sampling import Draw
    from recommenders.training_log import Row

    Validate = Callable[[GradientModel[Any]], float | Mapping[str, float]]

_SINGLE = "validation"
"""Name of a single metric."""


class TrainerConfig(ModelConfig):
    """Options of training; defaults as in RecLM's code where it has them.

    Attributes:
        epochs: Maximum number of epochs.
        batch_size: Interactions in an optimiser step.
        accumulate: Number of pieces of a batch whose gradients are accumulated, to save memory.
            The step is the same, except for models whose loss compares a batch's interactions.
        learning_rate: Of Adam.
        weight_decay: L2 penalty: this times the parameter is added to its gradient.
        validate_every: Epochs between validations.
        patience: Training ends after so many validations in a row in which no metric improves;
            None for no early stopping.
        precision: `bfloat16` computes matrix products in that type; parameters stay float32.
        deterministic: Refuse operations that are not deterministic. All are on a CPU; on a GPU
            torch asks for CUBLAS_WORKSPACE_CONFIG=:4096:8.
    """

    epochs: int = Field(50, ge=1)
    batch_size: int = Field(4096, ge=1)
    accumulate: int = Field(1, ge=1)
    learning_rate: float = Field(1e-3, gt=0)
    weight_decay: float = Field(2e-7, ge=0)
    validate_every: int = Field(1, ge=1)
    patience: int | None = Field(10, ge=1)
    precision: Literal["float32", "bfloat16"] = "float32"
    deterministic: bool = False


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
            is called in the main process only. Without it the parameters of the last epoch count.
        checkpoint: A file that the main process writes after each epoch. If it exists, training
            resumes from it with the same result as without the interruption, whatever the state
            of `rng`. All processes must have access to it.
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
            run.epoch(checkpoint)
            if validate is not None:
                run.validate(validate)
            if checkpoint is not None:
                run.keep(checkpoint)
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
        self._users, self._items = _with_negatives(matrix)
        if not len(self._users):
            raise ModelError("every user chose all items; there are no negatives to draw")
        self._generator = torch.Generator(model.device).manual_seed(int(rng.integers(2**63)))
        # With several processes, draws for an epoch are the same in all, those for a share are not.
        self._own = self._generator if context.world_size == 1 else torch.Generator(model.device)
        self._optimizer = torch.optim.Adam(
            model.parameters(), config.learning_rate, weight_decay=config.weight_decay, fused=True
        )
        self._history = History()
        self._started = time.process_time()

    def finished(self) -> bool:
        """Returns whether all epochs are done, or training stops early."""
        history, patience = self._history, self._config.patience
        if len(history.rows) >= self._config.epochs:
            return True
        return patience is not None and history.waited >= patience

    def epoch(self, checkpoint: Path | None) -> None:
        """Trains on every interaction once."""
        started = time.perf_counter()
        self._model.train()
        self._begin_epoch()
        sums: Row = {}
        for batch in self._batches():
            for name, value in self._step(batch, checkpoint).items():
                sums[name] = sums.get(name, 0) + value * len(batch)
        means = {name: value / len(self._users) for name, value in sums.items()}
        row = {"epoch": len(self._history.rows) + 1, "seconds": time.perf_counter() - started}
        self._history.rows.append(row | {"loss": sum(means.values())} | means)

    def _begin_epoch(self) -> None:
        self._model.begin_epoch(self._generator)
        if self._own is not self._generator:
            # Derived from the common state, which so stays as it is with a single process.
            state = self._generator.get_state().numpy().tobytes()
            digest = hashlib.sha256(state + bytes(f"{self._context.rank}", "ascii")).digest()
            self._own.manual_seed(int.from_bytes(digest[:7]))

    def validate(self, validate: Validate) -> None:
        """Validates if it is due after this epoch, and keeps the parameters if they are the best."""
        history, epoch = self._history, len(self._history.rows)
        if epoch % self._config.validate_every and epoch != self._config.epochs:
            return
        self._model.eval()
        found = self._context.from_main(lambda: validate(self._model))
        several = isinstance(found, Mapping)
        values = found if isinstance(found, Mapping) else {_SINGLE: found}
        history.waited += 1
        state: Mapping[str, Tensor] | None = None
        for name, value in values.items():
            column = f"{_SINGLE} {name}" if several else _SINGLE
            if not math.isfinite(value):
                raise ModelError(f"{column} after epoch {epoch} gave {value}")
            history.rows[-1][column] = float(value)
            best = history.bests.get(name)
            if best is None or value > best.value:
                state = state or copied(self._model.state_dict())
                history.bests[name] = Best(float(value), epoch, state)
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
                "bests": {name: [best.value, best.epoch] for name, best in history.bests.items()},
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
            name: Best(value, epoch, copied(unpack(_prefix(name), found.tensors)))
            for name, (value, epoch) in state["bests"].items()
        }
        self._history = History(
            rows=state["rows"],
            bests=bests,
            waited=state["waited"],
            earlier_seconds=state["cpu_seconds"],
        )

    @functools.cached_property
    def _fingerprint(self) -> dict[str, Any]:
        """What must be equal to resume from a checkpoint; `epochs` and `patience` may differ."""
        inputs = self._model.inputs
        if getattr(self._model.config, "variant", None) == "base":
            inputs = inputs.without_profiles()
        matrix = inputs.train
        pairs = zlib.crc32(matrix.indices.tobytes(), zlib.crc32(matrix.indptr.tobytes()))
        options = self._config.model_dump(exclude={"epochs", "patience"})
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
        for start in range(0, len(order), self._config.batch_size):
            chosen = order[start : start + self._config.batch_size]
            users = self._users[chosen]
            negatives = self._draw(users, self._rng).reshape(-1)
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
        epochs = len(self._history.rows)
        kept = (
            f"; {checkpoint} holds the state after epoch {epochs}" if checkpoint and epochs else ""
        )
        raise ModelError(
            f"{self._model.name}: the loss is not a finite number in epoch {epochs + 1} ({values});"
            f" lower the learning rate of {self._config.learning_rate:g}{kept}"
        )


def _with_negatives(matrix: sparse.csr_array) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Returns users and items of the interactions, without users who have no negatives."""
    counts = np.diff(matrix.indptr)
    users = np.repeat(np.arange(matrix.shape[0], dtype=np.int32), counts)
    chosen = np.count_nonzero(np.bincount(matrix.indices))
    if counts.max() < chosen:
        return users, matrix.indices
    kept = (counts < chosen)[users]
    return users[kept], matrix.indices[kept]


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
