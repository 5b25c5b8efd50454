"""The folder of a run: found again after whatever ended it, and gone on with from there.

run.json      what the run is: a second command goes on only with the very same
checkpoints/  the two newest; one without the file `.complete` was not written to its end
log.csv, loss.svg, tensorboard/
adapter/      the result, which appears whole when the job is done
"""

from __future__ import annotations

import contextlib
import json
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from transformers import PrinterCallback, TrainingArguments
from transformers.integrations import TensorBoardCallback  # type: ignore[attr-defined]

from services.profiles.prompts import component
from training.adapters import AdapterManifest, save_adapter
from training.errors import TrainingError
from training.files import content_hash, licence_of, whole_folder, write_json
from training.rows import fingerprint
from training.watch import COMPLETE, Guard, Log, Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from peft import PeftModel
    from transformers import Trainer, TrainerCallback

    from training.options import JobOptions, Places

ArgumentsT = TypeVar("ArgumentsT", bound=TrainingArguments)
_KEPT = 2


@dataclass(frozen=True, slots=True)
class Run:
    """One run of one job.

    Attributes:
        job: Which.
        options: How.
        places: Where.
        identity: All that the result depends on, as `run.json` and the adapter's manifest say it.
    """

    job: str
    options: JobOptions
    places: Places
    identity: Mapping[str, Any]

    @property
    def adapter(self) -> Path:
        """Where the result will be."""
        return self.places.out / "adapter"

    @property
    def checkpoints(self) -> Path:
        """Where checkpoints are."""
        return self.places.out / "checkpoints"

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


def open_run(job: str, options: JobOptions, places: Places, *, rows: int) -> Run:
    """Begins a run in its folder, or goes on with the one that is there.

    Args:
        job: Name of the job.
        options: How it trains.
        places: Where it reads and writes.
        rows: How many rows the data has.

    Raises:
        TrainingError: The folder holds another run, or one that is done.
    """
    prompt = component(examples=False)
    identity: dict[str, Any] = {
        "job": job,
        "base_model": {"name": places.model.name, "hash": content_hash(places.model)},
        "parent": None if places.start is None else content_hash(places.start),
        "config": options.model_dump(mode="json"),
        "data": fingerprint(places.data, rows),
        "prompt": {"name": prompt.name, "hash": prompt.hash},
    }
    run = Run(job, options, places, identity)
    places.out.mkdir(parents=True, exist_ok=True)
    path = places.out / "run.json"
    if path.is_file():
        there = json.loads(path.read_text(encoding="utf-8"))
        differing = [name for name in identity if there.get(name) != identity[name]]
        if differing:
            raise TrainingError(
                f"{places.out} holds another run (its {', '.join(differing)} differ); give another "
                "--out, or delete that folder"
            )
    else:
        write_json(path, identity)
    if run.adapter.exists():
        raise TrainingError(f"{run.adapter} is there already: this run is done")
    return run


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


def watch(trainer: Trainer, run: Run, tell: Callable[[str], object]) -> None:
    """Has a trainer guarded, logged and told of."""
    from torch.utils.tensorboard import SummaryWriter

    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(Guard())
    trainer.add_callback(Log(run.places.out))
    trainer.add_callback(Progress(tell))
    if trainer.is_world_process_zero():
        writer = SummaryWriter(str(run.places.out / "tensorboard"))
        board: TrainerCallback = TensorBoardCallback(writer)  # type: ignore[no-untyped-call]
        trainer.add_callback(board)


def train(trainer: Trainer, run: Run) -> None:
    """Trains to the end, from the last whole checkpoint if there is one.

    Raises:
        TrainingError: As `saved` does.
    """
    last = run.last_checkpoint()
    with saved(run):
        trainer.train(resume_from_checkpoint=None if last is None else str(last))


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
            prompt=run.identity["prompt"],
            source=f"reclm-train {run.job}",
            licence=licence_of(run.places.model),
            metrics={name: float(value) for name, value in metrics.items()},
        )
        with whole_folder(run.adapter) as folder:
            save_adapter(model, folder, manifest, parent=run.places.start, state=state)
    trainer.accelerator.wait_for_everyone()
    return run.adapter
