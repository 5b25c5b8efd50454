"""Merges a chain of adapters into its base model.

The result is a plain model folder, which any server serves at full speed. Whether it is the same
model is measured: the logits and greedy answers of the merged model are compared with those of the
base with the adapters on top.

In float32 the rounding error of logits is a few 1e-4. So the comparison is made in float64 arithmetic,
and in float32 as well.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from services.common.files import atomic_folder, write_json
from services.common.manifests import MANIFEST, file_records
from services.profiles.generation.prompts.registry import CURRENT
from training.adapters.manifest import chain, check_base, content_hash, licence_of, read_adapter
from training.data.rows import Turn
from training.errors import TrainingError
from training.modeling.arithmetic import WideArithmetic
from training.modeling.chat import prompt_text, token_ids
from training.modeling.lora import four_bit, load_model, load_tokenizer
from training.runs.progress import ProgressReporter, ignore

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from transformers import PreTrainedTokenizerBase

PROBES = tuple(
    tuple(
        Turn(role=turn.role, content=turn.content)
        for turn in CURRENT.user_messages(lines, examples=False)
    )
    for lines in (
        ["Head torch with red light | Camping, Lighting", "Freeze-dried meals for two | Camping"],
        ["Sense and Sensibility (1995) | Drama, Romance", "The Piano (1993) | Drama, Romance"],
        ["Blade Runner (1982) | Film-Noir, Sci-Fi"],
    )
)
"""Prompts of the comparison where none are given."""

_WEIGHTS = {".safetensors", ".bin", ".pt", ".pth", ".h5", ".msgpack", ".gguf", ".onnx"}


@dataclass(frozen=True, slots=True)
class Agreement:
    """Agreement of a merged model with its base model and adapters, over some prompts.

    Logits are compared at every token of the prompts and of the merged model's greedy answers. Each
    difference is the largest one.

    Attributes:
        largest: Difference of logits of the models in float32, with arithmetic in float64.
        plain: The same with arithmetic in float32.
        rounding: Difference of the merged model's own logits between both arithmetics.
        stored: As `plain`, for the model in the precision in which it is stored.
        same_answers: Number of greedy answers, in float32, that are equal token for token.
        prompts: Number of prompts.
        trained: As `plain`, against the 4-bit base that the adapter was trained on; None where it
            was not trained on a 4-bit base, or there is no GPU.
    """

    largest: float
    plain: float
    rounding: float
    stored: float
    same_answers: int
    prompts: int
    trained: float | None = None

    def __str__(self) -> str:
        parts = [
            f"{self.largest:.1e} in float32 with arithmetic in float64",
            (
                f"{self.plain:.1e} in float32 alone, where the rounding error of the merged model is "
                f"{self.rounding:.1e}"
            ),
            f"{self.stored:.1e} as stored",
        ]
        if self.trained is not None:
            parts.append(f"{self.trained:.1e} from the base in 4 bits")
        return (
            f"{self.same_answers} of {self.prompts} greedy answers are equal; "
            f"logits differ by at most {', '.join(parts)}"
        )


def merge(
    model: Path,
    adapter: Path,
    out: Path,
    *,
    prompts: Sequence[Sequence[Turn]],
    answer_tokens: int = 32,
    progress: Callable[[str], object] = ignore,
) -> Agreement:
    """Writes the merged model in the precision of the base, with a manifest as the service reads it.

    Args:
        model: Folder of the base model.
        adapter: Folder of the adapter, its parents inside.
        out: Folder of the merged model, which is named after it.
        prompts: Chats of the comparison.
        answer_tokens: Length of the answers that are compared.
        progress: Called with lines of progress.

    Raises:
        TrainingError: The adapter is for another base or is a reward model, `out` exists, or there is
            no prompt.
    """
    if out.exists():
        raise TrainingError(f"{out} exists already; choose another name or delete it")
    if not prompts:
        raise TrainingError("there are no prompts for the comparison")
    folders = chain(adapter)
    check_base(adapter, model)
    if any(read_adapter(folder).job == "reward" for folder in folders):
        raise TrainingError(f"{adapter} is a reward model, which scores and generates no text")
    tokenizer = load_tokenizer(model)
    chats = [token_ids(tokenizer, prompt_text(tokenizer, turns)) for turns in prompts]
    merged: Any = load_model(model, folders, dtype=torch.float32)
    apart = unmerged(model, folders)
    answered = []
    largest = plain = rounding = 0.0
    same = 0
    reporter = ProgressReporter(progress, "compared prompt", len(chats))
    for done, prompt in enumerate(chats, start=1):
        ids = _answered(merged, prompt, tokenizer, answer_tokens)
        ours, theirs = _logits(apart, ids), _logits(merged, ids)
        with WideArithmetic():
            widely = _logits(merged, ids)
            largest = max(largest, _difference(_logits(apart, ids), widely))
        plain = max(plain, _difference(ours, theirs))
        rounding = max(rounding, _difference(theirs, widely))
        same += ours[len(prompt) - 1 : -1].argmax(-1).tolist() == ids[len(prompt) :]
        answered.append(ids)
        reporter.at(done)
    trained = _against_four_bits(model, adapter, merged, answered)
    merged.to(_stored_dtype(model))
    with atomic_folder(out) as folder:
        merged.save_pretrained(str(folder))
        for path in model.iterdir():  # tokenizer, chat template, licence
            weights = path.suffix in _WEIGHTS or path.name.endswith(".index.json")
            if path.is_file() and not weights and path.name not in {MANIFEST, "config.json"}:
                shutil.copyfile(path, folder / path.name)
        stored = _largest(apart, load_model(folder, dtype=merged.dtype), answered)
        agreement = Agreement(largest, plain, rounding, stored, same, len(chats), trained)
        _write_manifest(folder, out.name, model, adapter, agreement)
    return agreement


def is_merged_from(folder: Path, adapter: Path) -> bool:
    """Returns whether a folder holds the merged model of an adapter."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False  # `merge` does not overwrite whatever is there
    return isinstance(manifest, dict) and manifest.get("adapter") == content_hash(adapter)


def unmerged(model: Path, adapters: Sequence[Path]) -> PeftModel:
    """Returns a base model in float32 with all adapters of a chain on top, none merged."""
    base = load_model(model, dtype=torch.float32)
    names = [str(number) for number in range(len(adapters))]
    result = PeftModel.from_pretrained(base, str(adapters[0]), adapter_name=names[0])
    for name, folder in zip(names[1:], adapters[1:], strict=True):
        result.load_adapter(str(folder), adapter_name=name)
    result.base_model.set_adapter(names)
    result.eval()
    return result


def _answered(
    model: Any, prompt: list[int], tokenizer: PreTrainedTokenizerBase, answer_tokens: int
) -> list[int]:
    """Returns the tokens of a prompt and of the model's greedy answer."""
    ids = torch.tensor([prompt])
    answered: list[int] = model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=answer_tokens,
        do_sample=False,
        repetition_penalty=1.0,
        pad_token_id=tokenizer.pad_token_id,
    )[0].tolist()
    return answered


@torch.no_grad()
def _logits(model: Any, ids: list[int]) -> torch.Tensor:
    logits: torch.Tensor = model(input_ids=torch.tensor([ids], device=model.device)).logits[0]
    return logits.cpu()


def _difference(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return float((ours - theirs).abs().max())


def _largest(one: Any, other: Any, chats: Sequence[list[int]]) -> float:
    return max(_difference(_logits(one, ids), _logits(other, ids)) for ids in chats)


def _against_four_bits(
    model: Path, adapter: Path, merged: Any, chats: Sequence[list[int]]
) -> float | None:
    """Returns the difference of logits from the 4-bit model that was trained, if it was one."""
    options = read_adapter(adapter).config.get("lora", {})
    if (
        not (options.get("load_in_4bit") or options.get("four_bit"))
        or not torch.cuda.is_available()
    ):
        return None
    quantization = four_bit([])
    base = AutoModelForCausalLM.from_pretrained(
        str(model), quantization_config=quantization, dtype=torch.bfloat16
    )
    return _largest(PeftModel.from_pretrained(base, str(adapter)), merged, chats)


def _stored_dtype(model: Path) -> torch.dtype:
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    name = config.get("dtype") or config.get("torch_dtype") or "bfloat16"
    dtype: torch.dtype = getattr(torch, name)
    return dtype


def _write_manifest(
    folder: Path, name: str, model: Path, adapter: Path, agreement: Agreement
) -> None:
    base = read_adapter(adapter).base_model
    document = {
        "name": name,
        "source": f"{base['name']} ({base['hash']}) with adapter {content_hash(adapter)}",
        "licence": licence_of(model),
        "created_at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "base_model": dict(base),
        "adapter": content_hash(adapter),
        "agreement": asdict(agreement),
        "files": file_records(folder),
    }
    write_json(folder / MANIFEST, document)
