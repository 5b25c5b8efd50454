"""The run directory: what a run is, where it stands, and how an interrupted run is resumed.

run.json      the identity of the run: a run is resumed only with the same options and data
checkpoints/  the two newest; one without the file `.complete` was not written completely
log.csv, loss.svg, tensorboard/
adapter/      the result, written atomically when the job is done
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from transformers import PrinterCallback, TrainerState, TrainingArguments
from transformers.integrations import TensorBoardCallback  # type: ignore[attr-defined]
from transformers.trainer import TRAINER_STATE_NAME

from services.common.files import atomic_folder, write_json
from services.common.hashing import sha256_of
from services.profiles.generation.prompts.base import component
from services.profiles.generation.prompts.registry import CURRENT
from training.adapters.manifest import AdapterManifest, content_hash, licence_of, save_adapter
from training.data.rows import fingerprint
from training.errors import TrainingError
from training.runs.callbacks import COMPLETE, Guard, Log, Progress
from training.runs.options import old_names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from peft import PeftModel
    from transformers import Trainer, TrainerCallback

    from training.runs.options import JobOptions, RunPaths

ArgumentsT = TypeVar("ArgumentsT", bound=TrainingArguments)
_KEPT_CHECKPOINTS = 2
_OWN = frozenset({"packing", "torch_compile"})
"""Options that RecLM carries out itself, although trainers have options of the same names."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run of one job.

    Attributes:
        job: Name of the job.
        options: Its options.
        paths: The files that it reads and writes.
        identity: Everything that the result depends on, as written to `run.json` and to the
            adapter's manifest.
    """

    job: str
    options: JobOptions
    paths: RunPaths
    identity: Mapping[str, Any]

    @property
    def adapter(self) -> Path:
        """Folder of the result."""
        return self.paths.out / "adapter"

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.paths.out / "checkpoints"

    @property
    def _record(self) -> Path:
        return self.paths.out / "run.json"

    def check(self) -> None:
        """Checks that the folder is empty or holds this run, not finished yet.

        Raises:
            TrainingError: The folder holds another run, a run of an older version whose options had
                other names, or a finished run.
        """
        if self._record.is_file():
            try:
                there = json.loads(self._record.read_text(encoding="utf-8"))
            except ValueError as error:
                raise TrainingError(f"{self._record} is not JSON: {error}") from error
            if old := old_names(there.get("config", {})):
                raise TrainingError(
                    f"{self.paths.out} holds a run of an older RecLM, whose options had other names "
                    f"({', '.join(old)}): finish it with that version, or give another --out"
                )
            names = {**there, **self.identity}
            differing = [name for name in names if there.get(name) != self.identity.get(name)]
            if differing:
                raise TrainingError(
                    f"{self.paths.out} holds another run (its {', '.join(differing)} differ); give "
                    "another --out, or delete that folder"
                )
        if self.adapter.exists():
            raise TrainingError(f"{self.adapter} exists already: this run is finished")

    def begin(self) -> None:
        """Writes the identity of the run to its folder."""
        self.paths.out.mkdir(parents=True, exist_ok=True)
        write_json(self._record, self.identity)

    def last_checkpoint(self) -> Path | None:
        """Returns the newest complete checkpoint, and deletes those not written completely."""
        found = sorted(
            self.checkpoints.glob("checkpoint-*"), key=lambda folder: int(folder.name.split("-")[1])
        )
        complete = [folder for folder in found if (folder / COMPLETE).is_file()]
        for folder in found:
            if folder not in complete:
                shutil.rmtree(folder, ignore_errors=True)  # another process may delete it as well
        return complete[-1] if complete else None


def open_run(job: str, options: JobOptions, paths: RunPaths, *, rows: int) -> Run:
    """Returns the run that a folder holds, or that begins there.

    Nothing is written until `watch`, so that a run which a trainer refuses leaves no folder behind.

    Args:
        job: Name of the job.
        options: Its options.
        paths: The files that it reads and writes.
        rows: Number of rows in the data.

    Raises:
        TrainingError: As `Run.check` does, or an input is missing.
    """
    data = fingerprint(paths.data, rows)
    identity: dict[str, Any] = {
        "job": job,
        "base_model": {"name": paths.model.name, "hash": content_hash(paths.model)},
        "parent": None if paths.start is None else content_hash(paths.start),
        "config": options.model_dump(mode="json"),
        "data": data,
        "evaluation": None if paths.evaluation is None else sha256_of(paths.evaluation),
        "reward": None if paths.reward_model is None else content_hash(paths.reward_model),
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
    """Returns the trainer's arguments for a run: every option that the trainer knows by its name.

    Args:
        kind: The trainer's class of arguments.
        run: The run.
        more: Further arguments, which replace options of the same name.
    """
    options = run.options
    known = {field.name for field in fields(kind)} - _OWN
    values: dict[str, Any] = {
        **{name: value for name, value in options if name in known},
        "output_dir": str(run.checkpoints),
        "max_steps": options.max_steps or -1,
        "data_seed": options.seed,
        "save_total_limit": _KEPT_CHECKPOINTS,
        "logging_nan_inf_filter": False,
        "disable_tqdm": True,
        "report_to": [],
        "use_cpu": not torch.cuda.is_available(),
        "dataloader_pin_memory": torch.cuda.is_available(),
    }
    return kind(**{**values, **more})


def processes() -> int:
    """Returns the world size, which torchrun and accelerate put into the environment."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def refuse_several_gpus(args: TrainingArguments) -> None:
    """Refuses several GPUs in one process: a pack cannot be divided among them.

    Raises:
        TrainingError: This process has several GPUs.
    """
    if args.n_gpu > 1:
        raise TrainingError(
            f"{args.n_gpu} GPUs in one process cannot share packs: start with torchrun or accelerate, "
            "or name one GPU in CUDA_VISIBLE_DEVICES"
        )


def watch(trainer: Trainer, run: Run, progress: Callable[[str], object]) -> None:
    """Begins a run: writes `run.json` and adds the callbacks for checks, log and progress."""
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
    """Trains to the end, from the last complete checkpoint if there is one.

    Raises:
        TrainingError: As `saved` does.
    """
    model: Any = trainer.model
    for weight in model.parameters():
        if weight.requires_grad:  # TRL casts an adapter on a 4-bit base to bfloat16
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
    """Restores a trainer that had taken its last step; `Trainer.train` would take one more."""
    trainer.accelerator.prepare_model(trainer.model, evaluation_mode=True)  # for bf16 autocast
    trainer._load_from_checkpoint(str(checkpoint))  # noqa: SLF001 - no public method loads without a step
    trainer.state = TrainerState.load_from_json(str(checkpoint / TRAINER_STATE_NAME))
    trainer.callback_handler.on_train_end(trainer.args, trainer.state, trainer.control)


def mean_loss(trainer: Trainer) -> float:
    """Returns the mean loss over all steps of a run, those before it was resumed included."""
    steps, losses = zip(
        *((entry["step"], entry["loss"]) for entry in trainer.state.log_history if "loss" in entry),
        strict=True,
    )
    return float(np.average(losses, weights=np.diff(steps, prepend=0)))


@contextlib.contextmanager
def saved(run: Run) -> Iterator[None]:
    """Deletes an incomplete checkpoint when training fails.

    Raises:
        TrainingError: Training failed while writing a checkpoint, for example on a full disk.
    """
    try:
        yield
    except Exception as error:
        before = set(run.checkpoints.glob("checkpoint-*"))
        last = run.last_checkpoint()
        if before == set(run.checkpoints.glob("checkpoint-*")):
            raise
        kept = "there is no complete one before it" if last is None else f"{last} is kept"
        raise TrainingError(
            f"a checkpoint could not be written ({error}); {kept}. Free disk space and run the same "
            "command again to resume"
        ) from error


def finish(run: Run, trainer: Trainer, model: PeftModel, metrics: Mapping[str, float]) -> Path:
    """Writes the adapter of a finished run, and returns its folder.

    Args:
        run: The run.
        trainer: Its trainer.
        model: Holds the adapter; a bfloat16 run stores it in bfloat16.
        metrics: Metrics for the manifest.
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
        with atomic_folder(run.adapter) as folder:
            save_adapter(model, folder, manifest, parent=run.paths.start, state=state)
    trainer.accelerator.wait_for_everyone()
    return run.adapter
