"""The options of a job. Each default is written here once; a YAML file lists what differs.

Options have the names that Transformers, PEFT and TRL give them, so that they are handed on as they
are. Where RecLM does something itself, the docstring says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, TypeVar

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    model_validator,
)

from training.errors import TrainingError

if TYPE_CHECKING:
    from pathlib import Path

    from pydantic_core import ErrorDetails

Share = Annotated[float, Field(ge=0, le=1)]

RENAMED: Mapping[str, tuple[str, ...]] = {
    "rank": ("r",),
    "alpha": ("lora_alpha",),
    "dropout": ("lora_dropout",),
    "target": ("target_modules",),
    "four_bit": ("load_in_4bit",),
    "schedule": ("lr_scheduler_type",),
    "warmup": ("warmup_steps",),
    "epochs": ("num_train_epochs",),
    "batch_size": ("per_device_train_batch_size",),
    "accumulation": ("gradient_accumulation_steps",),
    "checkpointing": ("activation_checkpointing",),
    "save_every": ("save_steps",),
    "log_every": ("logging_steps",),
    "compile": ("torch_compile",),
    "kl": ("beta", "kl_coef"),
    "answers": ("num_generations",),
    "answer_tokens": ("max_completion_length", "response_length"),
    "updates": ("num_ppo_epochs",),
    "mini_batches": ("num_mini_batches",),
    "clip": ("cliprange",),
    "value_weight": ("vf_coef",),
    "no_end_penalty": ("missing_eos_penalty",),
}
"""Option of RecLM up to 0.1 -> its name now, which may depend on the job."""


class Options(BaseModel):
    """Frozen. An unknown key is refused, an old name with the new one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _refuse_old_names(cls, given: Any) -> Any:  # noqa: ANN401 - whatever is to be validated
        if isinstance(given, Mapping):
            renamed = {
                old: new
                for old in given
                for new in RENAMED.get(old, ())
                if old not in cls.model_fields and new in cls.model_fields
            }
            if renamed:
                raise ValueError(
                    "; ".join(f"{old} is now called {new}" for old, new in renamed.items())
                )
        return given


class LoraOptions(Options):
    """The adapter (arXiv 2106.09685), as PEFT's `LoraConfig`.

    Attributes:
        r: Rank: the inner size of the two factors.
        lora_alpha: The product of the factors is scaled by lora_alpha / r.
        lora_dropout: Share of the inputs that training leaves out.
        target_modules: Names of linear layers; "all-linear" is every one but the output layer.
        load_in_4bit: Load the base in 4-bit NF4 (arXiv 2305.14314). Needs a CUDA GPU.
    """

    r: PositiveInt = 16
    lora_alpha: PositiveInt = 32
    lora_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    target_modules: Literal["all-linear"] | tuple[str, ...] = "all-linear"
    load_in_4bit: bool = False


class JobOptions(Options):
    """Options of every job, as Transformers' `TrainingArguments`.

    Attributes:
        lora: The adapter.
        learning_rate: The highest learning rate.
        lr_scheduler_type: How the learning rate falls after the warm-up.
        warmup_steps: Steps in which the learning rate rises; below 1, their share of all steps.
        weight_decay: Weight decay of AdamW.
        num_train_epochs: Passes over the rows.
        max_steps: Number of optimiser steps; None to train for `num_train_epochs`.
        per_device_train_batch_size: Rows at a time on each device. `packing` changes its meaning.
        gradient_accumulation_steps: Batches in one optimiser step.
        bf16: Compute in bfloat16. The adapter's own weights stay in float32 while training.
        activation_checkpointing: Compute activations again in the backward pass: less memory, a
            third more time.
        seed: Seed of all random numbers.
        save_steps: Steps between checkpoints.
        logging_steps: Steps between lines of the log.
    """

    lora: LoraOptions = LoraOptions()
    learning_rate: PositiveFloat = 2e-4
    lr_scheduler_type: Literal["linear", "cosine", "constant"] = "cosine"
    warmup_steps: NonNegativeFloat = 0.03
    weight_decay: NonNegativeFloat = 0.0
    num_train_epochs: PositiveFloat = 1.0
    max_steps: PositiveInt | None = None
    per_device_train_batch_size: PositiveInt = 4
    gradient_accumulation_steps: PositiveInt = 1
    bf16: bool = True
    activation_checkpointing: bool = True
    seed: Annotated[int, Field(ge=0)] = 0
    save_steps: PositiveInt = 50
    logging_steps: PositiveInt = 5


class SupervisedOptions(JobOptions):
    """Options of training on given answers.

    Attributes:
        max_length: Most tokens of a row. Longer rows are left out and counted.
        packing: Compute the common beginning of rows once for several of them; no row sees another
            (`training.modeling.packing`, not TRL's packing). A batch is then as many rows as fit into
            `per_device_train_batch_size` times `max_length` tokens. "auto" packs on a CPU and not
            on a GPU, where packs would replace the fused attention by plain matrix products.
        torch_compile: Compile each layer of the model by itself (Transformers' option compiles the
            whole model). Takes minutes before the first step of the first run. On a CPU it needs a
            C++ compiler.
    """

    max_length: PositiveInt = 1024
    packing: bool | Literal["auto"] = "auto"
    torch_compile: bool = False

    def resolved(self, *, gpu: bool) -> Self:
        """Returns the options with "auto" replaced by what it means on this kind of device."""
        return self.model_copy(update={"packing": not gpu}) if self.packing == "auto" else self


@dataclass(frozen=True, kw_only=True, slots=True)
class RunPaths:
    """The files and folders that a job reads and writes.

    Attributes:
        model: Folder of the base model.
        data: JSONL of rows.
        out: Folder of the run: checkpoints, logs, and in the end `adapter`.
        start: Adapter to start from, with its parents inside; None for the base itself.
        evaluation: JSONL of rows that are not trained on; None without evaluation.
        reward_model: Adapter of the reward model; None without one.
    """

    model: Path
    data: Path
    out: Path
    start: Path | None = None
    evaluation: Path | None = None
    reward_model: Path | None = None


OptionsT = TypeVar("OptionsT", bound=Options)


def read_options(kind: type[OptionsT], path: Path | None) -> OptionsT:
    """Reads options from a YAML file; without one, all are the defaults.

    Raises:
        TrainingError: The file cannot be read, or an option is unknown, renamed or out of range.
    """
    if path is None:
        return kind()
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        return kind.model_validate({} if document is None else document)
    except ValidationError as error:
        found = "; ".join(map(_finding, error.errors(include_url=False, include_input=False)))
        raise TrainingError(f"{path}: {found}") from error
    except OSError as error:
        raise TrainingError(f"cannot read {path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise TrainingError(f"{path} is not YAML: {error}") from error


def old_names(config: Mapping[str, Any]) -> list[str]:
    """Returns the options of a recorded configuration that have other names now."""
    lora = config.get("lora")
    members = [*config, *(lora if isinstance(lora, Mapping) else ())]
    return [name for name in members if name in RENAMED]


def _finding(error: ErrorDetails) -> str:
    where = ".".join(map(str, error["loc"]))
    message = error["msg"].removeprefix("Value error, ")
    return f"{where}: {message}" if where else message
