"""What decides how a job trains. Each default stands here, once; a YAML file names what differs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, ValidationError

from training.errors import TrainingError

if TYPE_CHECKING:
    from pathlib import Path

Share = Annotated[float, Field(ge=0, le=1)]


class Options(BaseModel):
    """Frozen, and no unknown key."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class LoraOptions(Options):
    """The adapter (arXiv 2106.09685).

    Attributes:
        rank: Inner size of the two factors.
        alpha: Their product counts alpha / rank.
        dropout: Share of the inputs left out in training.
        target: Names of linear layers; "all-linear" is every one but the output layer.
        four_bit: Hold the base in 4-bit NF4 (arXiv 2305.14314). Needs a CUDA GPU.
    """

    rank: PositiveInt = 16
    alpha: PositiveInt = 32
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    target: Literal["all-linear"] | tuple[str, ...] = "all-linear"
    four_bit: bool = False


class JobOptions(Options):
    """What all jobs have.

    Attributes:
        lora: The adapter.
        learning_rate: At its highest.
        schedule: How the learning rate falls after the warm-up.
        warmup: Share of the steps in which it rises.
        weight_decay: Of AdamW.
        epochs: Passes over the rows.
        max_steps: Stop after so many steps; None for all epochs.
        batch_size: Rows at a time on each device; with `packing`, see there.
        accumulation: Batches in one step.
        bf16: Compute in bfloat16; the adapter's own weights stay in float32 while training.
        checkpointing: Recompute activations backward, for less memory at a third more time.
        seed: Of everything random.
        save_every: Steps between checkpoints.
        log_every: Steps between lines of the log.
    """

    lora: LoraOptions = LoraOptions()
    learning_rate: PositiveFloat = 2e-4
    schedule: Literal["linear", "cosine", "constant"] = "cosine"
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.03
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    epochs: PositiveFloat = 1.0
    max_steps: PositiveInt | None = None
    batch_size: PositiveInt = 4
    accumulation: PositiveInt = 1
    bf16: bool = True
    checkpointing: bool = True
    seed: Annotated[int, Field(ge=0)] = 0
    save_every: PositiveInt = 50
    log_every: PositiveInt = 5


class SupervisedOptions(JobOptions):
    """What training on given answers adds.

    Attributes:
        max_length: Tokens of a row at most. Longer rows are left out and counted.
        packing: Compute what rows begin with once for several of them, each blind to the others.
            A batch then is as many rows as fit into `batch_size` times `max_length` tokens.
        compile: Compile the model's layers (torch.compile), minutes before the first step of the
            first run. On a CPU it needs a C++ compiler.
    """

    max_length: PositiveInt = 1024
    packing: bool = True
    compile: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class RunPaths:
    """Where a job reads and writes.

    Attributes:
        model: Folder of the base model.
        data: JSONL of rows.
        out: Folder of the run: checkpoints, logs, and in the end `adapter`.
        start: Adapter to start from, with its parents inside; None for the base itself.
        evaluation: JSONL of rows that are not trained on.
    """

    model: Path
    data: Path
    out: Path
    start: Path | None = None
    evaluation: Path | None = None


OptionsT = TypeVar("OptionsT", bound=Options)


def read_options(kind: type[OptionsT], path: Path | None) -> OptionsT:
    """Reads options from a YAML file; without one, all are the defaults.

    Raises:
        TrainingError: The file cannot be read, or an option is unknown or out of range.
    """
    if path is None:
        return kind()
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        return kind.model_validate({} if document is None else document)
    except ValidationError as error:
        found = "; ".join(
            f"{'.'.join(map(str, finding['loc']))}: {finding['msg']}"
            for finding in error.errors(include_url=False, include_input=False)
        )
        raise TrainingError(f"{path}: {found}") from error
    except OSError as error:
        raise TrainingError(f"cannot read {path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise TrainingError(f"{path} is not YAML: {error}") from error
