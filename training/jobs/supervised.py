"""Supervised fine-tuning on given answers: what distillation and collaborative tuning share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from datasets import Dataset
from peft.helpers import disable_input_dtype_casting
from torch.nn.functional import cross_entropy
from trl import SFTConfig, SFTTrainer

from training.modeling.chat import NO_LOSS, encode_all
from training.modeling.compiling import compile_layers
from training.modeling.lora import add_adapter, load_tokenizer, start_model
from training.modeling.packing import Collator, answered, pack, take_packs
from training.runs.run import (
    arguments,
    finish,
    mean_loss,
    open_run,
    refuse_several_gpus,
    train,
    watch,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from training.data.rows import Chat
    from training.runs.options import RunPaths, SupervisedOptions


class _PackTrainer(SFTTrainer):  # type: ignore[misc]  # TRL has no types
    """Computes logits only at the tokens of answers, for a whole pack at once.

    TRL's own loss casts the whole output head to float32 for each 256 tokens, twice a step, and
    computes entropy and accuracy besides, which costs a small model on a CPU much of a step.
    """

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:  # noqa: ANN401 - the type of the method that it overrides
        """Returns the loss of a pack's answers, as `Trainer.compute_loss` does."""
        predicting, words = answered(inputs.pop("labels"))
        outputs = model(**inputs, use_cache=False, logits_to_keep=predicting)
        loss = cross_entropy(outputs.logits[0].float(), words, reduction="sum")
        loss = loss / (len(words) if num_items_in_batch is None else num_items_in_batch)
        if num_items_in_batch is not None and self.args.average_tokens_across_devices:
            loss = (
                loss * self.accelerator.num_processes
            )  # gradients are averaged over the processes
        return (loss, outputs) if return_outputs else loss


def learn(
    job: str,
    options: SupervisedOptions,
    paths: RunPaths,
    *,
    read: Callable[[Path], Sequence[Chat]],
    progress: Callable[[str], object],
) -> Path:
    """Trains an adapter on the assistant turns of chats, and returns the folder of the adapter.

    Args:
        job: Name of the job, for the manifest.
        options: Options of the job.
        paths: Inputs and outputs.
        read: Returns the chats of a file. The loss covers each assistant turn and nothing else.
        progress: Called with lines of progress, and with how many rows are left out.

    Raises:
        TrainingError: As `open_run`, `start_model`, `encode_all` and `train` do.
    """
    options = options.resolved(gpu=torch.cuda.is_available())
    chats = read(paths.data)
    run = open_run(job, options, paths, rows=len(chats))
    tokenizer = load_tokenizer(paths.model)
    sets = {}
    for name, found in (("train", chats), *_evaluation(paths, read)):
        encoded = encode_all(tokenizer, found, max_length=options.max_length)
        if encoded.too_long:
            progress(
                f"{name}: {encoded.too_long:,} rows of more than {options.max_length} tokens left out"
            )
        tokens = options.per_device_train_batch_size * options.max_length
        rows = pack(encoded, tokens=tokens, seed=options.seed) if options.packing else encoded.rows
        sets[name] = Dataset.from_list(rows)
    start = start_model(paths.model, paths.start, options)
    if options.packing:
        take_packs(start)
    model = add_adapter(start, options.lora)
    if options.torch_compile:
        compile_layers(start)
    args = arguments(SFTConfig, run, **_arguments(options))
    kind = _PackTrainer if options.packing else SFTTrainer
    if options.packing:
        refuse_several_gpus(args)
    trainer = kind(
        model=model,
        args=args,
        data_collator=Collator(tokenizer.pad_token_id) if options.packing else None,
        train_dataset=sets["train"],
        eval_dataset=sets.get("evaluation"),
        processing_class=tokenizer,
    )
    watch(trainer, run, progress)
    # In a bfloat16 run PEFT would cast the input of every layer to float32, and autocast back.
    with disable_input_dtype_casting(model, active=options.bf16):
        train(trainer, run)
        metrics = {"loss": mean_loss(trainer)}
        if "evaluation" in sets:
            metrics["eval_loss"] = _loss(trainer)
    return finish(run, trainer, trainer.model, metrics)


def _evaluation(
    paths: RunPaths, read: Callable[[Path], Sequence[Chat]]
) -> list[tuple[str, Sequence[Chat]]]:
    return [] if paths.evaluation is None else [("evaluation", read(paths.evaluation))]


@torch.no_grad()
def _loss(trainer: SFTTrainer) -> float:
    """Returns the mean loss of a token of an answer over the evaluation rows.

    The trainer's own evaluation loss is a mean over batches: a row in a small batch has more weight.
    """
    model = trainer.model_wrapped.eval()
    sums = torch.zeros(2, dtype=torch.float64)
    for batch in trainer.get_eval_dataloader():
        answered = int((batch["labels"][..., 1:] != NO_LOSS).sum())
        with trainer.compute_loss_context_manager():
            loss = trainer.compute_loss(model, dict(batch))
        sums += torch.tensor([float(loss) * answered, answered])
    whole, count = trainer.accelerator.reduce(sums.to(trainer.args.device), reduction="sum")
    return float(whole / count)


def _arguments(options: SupervisedOptions) -> dict[str, Any]:
    if not options.packing:
        return {}
    return {
        "per_device_train_batch_size": 1,
        "per_device_eval_batch_size": 1,
        "remove_unused_columns": False,
        "loss_type": "nll",  # else TRL takes the model's forward pass apart
        "dataset_kwargs": {"skip_prepare_dataset": True},
    }
