"""The folder of a run: found again after whatever ended it, and gone on with from there.

run.json      what the run is: a second command goes on only with the very same
checkpoints/  the two newest; one without the file `.complete` was not written to its end
log.csv, loss.svg, tensorboard/
adapter/      the result, which appears whole when the job is done
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from transformers import PrinterCallback, TrainerState, TrainingArguments
from transformers.integrations import TensorBoardCallback  # type: ignore[attr-defined]
from transformers.trainer import TRAINER_STATE_NAME

from services.profiles.generation.prompts.base import component
from services.profiles.generation.prompts.registry import CURRENT
from training.adapters.manifest import AdapterManifest, save_adapter
from training.data.rows import fingerprint
from training.errors import TrainingError
from training.runs.callbacks import COMPLETE, Guard, Log, Progress
from training.runs.files import content_hash, licence_of, sha256_of, whole_folder, write_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from peft import PeftModel
    from transformers import Trainer, TrainerCallback

    from training.runs.options import JobOptions, RunPaths

ArgumentsT = TypeVar("ArgumentsT", bound=TrainingArguments)
_KEPT = 2


@dataclass(frozen=True, slots=True)
class Run:
    """One run of one job.

    Attributes:
        job: Which.
        options: How.
        paths: Where.
        identity: All that the result depends on, as `run.json` and the adapter's manifest say it.
    """

    job: str
    options: JobOptions
    paths: RunPaths
    identity: Mapping[str, Any]

    @property
    def adapter(self) -> Path:
        """Where the result will be."""
        return self.paths.out / "adapter"

    @property
    def checkpoints(self) -> Path:
        """Where checkpoints are."""
        return self.paths.out / "checkpoints"

    @property
    def _record(self) -> Path:
        return self.paths.out / "run.json"

    def check(self) -> None:
        """Makes sure that the folder is this run's to write to.

        Raises:
            TrainingError: It holds another run, or one that is done.
        """
        if self._record.is_file():
            try:
                there = json.loads(self._record.read_text(encoding="utf-8"))
            except ValueError as error:
                raise TrainingError(f"{self._record} is not JSON: {error}") from error
            names = {**there, **self.identity}
            differing = [name for name in names if there.get(name) != self.identity.get(name)]
            if differing:
                raise TrainingError(
                    f"{self.paths.out} holds another run (its {', '.join(differing)} differ); give "
                    "another --out, or delete that folder"
                )
        if self.adapter.exists():
            raise TrainingError(f"{self.adapter} is there already: this run is done")

    def begin(self) -> None:
        """Says in the folder which run it holds from now on."""
        self.paths.out.mkdir(parents=True, exist_ok=True)
        write_json(self._record, self.identity)

    def last_checkpoint(self) -> Path | None:
        """Returns the newest whole checkpoint, and deletes what was not written to its end."""
        found = sorted(
            self.checkpoints.glob("checkpoint-*"), key=lambda folder: int(folder.name.split("-")[1])
        )
        whole = [folder for folder in found if (folder / COMPLETE).is_file()]
        for folder in found:
            if folder not in whole:
                shutil.rmtree(folder, ignore_errors=True)  # another process may do so as well
        return whole[-1] if whole else None


def open_run(
    job: str, options: JobOptions, paths: RunPaths, *, rows: int, reward_model: Path | None = None
) -> Run:
    """Returns the run that begins in a folder, or goes on there.

    Nothing is written until `watch`: what a trainer refuses leaves no run behind.

    Args:
        job: Name of the job.
        options: How it trains.
        paths: Where it reads and writes.
        rows: How many rows the data has.
        reward_model: Adapter of the reward model, where there is one.

    Raises:
        TrainingError: As `Run.check` does, or something that it reads is not there.
    """
    data = fingerprint(paths.data, rows)
    identity: dict[str, Any] = {
        "job": job,
        "base_model": {"name": paths.model.name, "hash": content_hash(paths.model)},
        "parent": None if paths.start is None else content_hash(paths.start),
        "config": options.model_dump(mode="json"),
        "data": data,
        "evaluation": None if paths.evaluation is None else sha256_of(paths.evaluation),
        "reward": None if reward_model is None else content_hash(reward_model),
        "prompt": _prompt_of(data),
    }
    run = Run(job, options, paths, identity)
    run.check()
    return run


def _prompt_of(data: Mapping[str, Any]) -> dict[str, str]:
    """Returns the prompt that rows were built with, as their manifest names it.

    Rows without a manifest count as built with the current version, without worked examples.
    """
    named = data.get("manifest", {}).get("prompt")
    if isinstance(named, dict) and {"name", "hash"} <= named.keys():
        return {"name": str(named["name"]), "hash": str(named["hash"])}
    current = component(CURRENT, examples=False)
    return {"name": current.name, "hash": current.hash}


def arguments(kind: type[ArgumentsT], run: Run, **more: Any) -> ArgumentsT:
    """Returns the trainer's arguments for a run.

    Args:
        kind: The trainer's class of arguments.
        run: The run.
        more: What only this kind knows.
    """
    options = run.options
    values: dict[str, Any] = {
        "output_dir": str(run.checkpoints),
        "learning_rate": options.learning_rate,
        "lr_scheduler_type": options.schedule,
        "warmup_steps": options.warmup,
        "weight_decay": options.weight_decay,
        "num_train_epochs": options.epochs,
        "max_steps": options.max_steps or -1,
        "per_device_train_batch_size": options.batch_size,
        "gradient_accumulation_steps": options.accumulation,
        "bf16": options.bf16,
        "gradient_checkpointing": options.checkpointing,
        "seed": options.seed,
        "data_seed": options.seed,
        "save_steps": options.save_every,
        "save_total_limit": _KEPT,
        "logging_steps": options.log_every,
        "logging_nan_inf_filter": False,
        "disable_tqdm": True,
        "report_to": [],
        "use_cpu": not torch.cuda.is_available(),
        "dataloader_pin_memory": torch.cuda.is_available(),
    }
    return kind(**{**values, **more})


def processes() -> int:
    """Returns how many processes train this model together, as torchrun and accelerate say it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def refuse_several_gpus(args: TrainingArguments) -> None:
    """Refuses GPUs that one process would share a pack out to: it cannot be cut.

    Raises:
        TrainingError: This process has several.
    """
    if args.n_gpu > 1:
        raise TrainingError(
            f"{args.n_gpu} GPUs in one process take no packs: start with torchrun or accelerate, or "
            "name one in CUDA_VISIBLE_DEVICES"
        )


def watch(trainer: Trainer, run: Run, progress: Callable[[str], object]) -> None:
    """Begins a run: has its trainer guarded, logged and told of."""
    from torch.utils.tensorboard import SummaryWriter

    run.begin()
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(Guard())
    trainer.add_callback(Log(run.paths.out))
    trainer.add_callback(Progress(progress))
    if trainer.is_world_process_zero():
        writer = SummaryWriter(str(run.paths.out / "tensorboard"))
        board: TrainerCallback = TensorBoardCallback(writer)  # type: ignore[no-untyped-call]
        trainer.add_callback(board)


def train(trainer: Trainer, run: Run) -> None:
    """Trains to the end, from the last whole checkpoint if there is one.

    Raises:
        TrainingError: As `saved` does.
    """
    model: Any = trainer.model
    for weight in model.parameters():
        if weight.requires_grad:  # TRL narrows an adapter on a base of 4 bits
            weight.data = weight.data.float()
    last = run.last_checkpoint()
    if last is not None and _is_the_end(last):
        _load(trainer, last)
        return
    with saved(run):
        trainer.train(resume_from_checkpoint=None if last is None else str(last))


def _is_the_end(checkpoint: Path) -> bool:
    state = TrainerState.load_from_json(str(checkpoint / TRAINER_STATE_NAME))
    ended: bool = state.global_step >= state.max_steps
    return ended


def _load(trainer: Trainer, checkpoint: Path) -> None:
    """Puts a trainer where it was when it had taken its last step: it would take one more."""
    trainer.accelerator.prepare_model(trainer.model, evaluation_mode=True)  # computes in bf16 too
    trainer._load_from_checkpoint(str(checkpoint))  # noqa: SLF001 - public only with a step after it
    trainer.state = TrainerState.load_from_json(str(checkpoint / TRAINER_STATE_NAME))
    trainer.callback_handler.on_train_end(trainer.args, trainer.state, trainer.control)


def mean_loss(trainer: Trainer) -> float:
    """Returns the mean loss of a step, over all steps of a run, however often it was gone on with."""
    steps, losses = zip(
        *((entry["step"], entry["loss"]) for entry in trainer.state.log_history if "loss" in entry),
        strict=True,
    )
    return float(np.average(losses, weights=np.diff(steps, prepend=0)))


@contextlib.contextmanager
def saved(run: Run) -> Iterator[None]:
    """Leaves only whole checkpoints behind when training fails.

    Raises:
        TrainingError: It failed while it wrote a checkpoint, as on a full disk.
    """
    try:
        yield
    except Exception as error:
        before = set(run.checkpoints.glob("checkpoint-*"))
        last = run.last_checkpoint()
        if before == set(run.checkpoints.glob("checkpoint-*")):
            raise
        kept = "none was whole before it" if last is None else f"{last} is kept"
        raise TrainingError(
            f"a checkpoint could not be written ({error}); {kept}. Make room, then run the same "
            "command again: it goes on from there"
        ) from error


def finish(run: Run, trainer: Trainer, model: PeftModel, metrics: Mapping[str, float]) -> Path:
    """Writes the adapter of a run that is done, and returns its folder.

    Args:
        run: The run.
        trainer: Says which process writes.
        model: Holds the adapter; a bfloat16 run stores it in bfloat16.
        metrics: For its manifest.
    """
    state = trainer.accelerator.get_state_dict(trainer.model) if trainer.is_fsdp_enabled else None
    if trainer.is_world_process_zero():
        if run.options.bf16:
            for weight in model.parameters():
                if weight.requires_grad:
                    weight.data = weight.data.to(torch.bfloat16)
        model.peft_config["default"].base_model_name_or_path = run.identity["base_model"]["name"]
        manifest = AdapterManifest(
            job=run.job,
            base_model=run.identity["base_model"],
            config=run.identity["config"],
            data=run.identity["data"],
            reward=run.identity["reward"],
            prompt=run.identity["prompt"],
            source=f"reclm-train {run.job}",
            licence=licence_of(run.paths.model),
            metrics={name: float(value) for name, value in metrics.items()},
        )
        with whole_folder(run.adapter) as folder:
            save_adapter(model, folder, manifest, parent=run.paths.start, state=state)
    trainer.accelerator.wait_for_everyone()
    return run.adapter
