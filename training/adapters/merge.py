"""Folding an adapter, with all that it was trained on top of, into its base model.

The result is a plain model folder, which any server serves at full speed. That it is the same
model is measured, not assumed: logits and greedy answers, before and after.

In float32 a model's own logits are known to a few 1e-4 only, so what folding does is looked for
with the rounding of arithmetic away, and told beside what float32 makes of it.
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

from services.profiles.generation.prompts.registry import CURRENT
from training.adapters.manifest import chain, check_base, read_adapter
from training.data.rows import Turn
from training.errors import TrainingError
from training.modeling.arithmetic import WideArithmetic
from training.modeling.chat import prompt_text, token_ids
from training.modeling.lora import four_bit, load_model, load_tokenizer
from training.runs.files import (
    MANIFEST,
    content_hash,
    licence_of,
    listing,
    whole_folder,
    write_json,
)
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
"""Prompts to compare over where none are given."""

_WEIGHTS = {".safetensors", ".bin", ".pt", ".pth", ".h5", ".msgpack", ".gguf", ".onnx"}


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far a merged model is from its base with the adapters on top, over some prompts.

    Logits are compared at every token of the prompts and of the merged model's greedy answers.

    Attributes:
        largest: Difference of two logits of the models in float32, with arithmetic in float64.
        plain: The same with arithmetic in float32 too, in whatever order the library adds up.
        rounding: Difference of the merged model's own logits between the two arithmetics.
        stored: The same as `plain` for the model as it is stored, in its own precision.
        same_answers: Greedy answers, in float32, that are equal token for token.
        prompts: Number of prompts.
        trained: The same as `plain`, against the base in 4 bits that the adapter was trained on;
            None where it was trained on the base as it is, or there is no GPU to tell.
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
                f"{self.plain:.1e} in float32 alone, where the merged model by itself is off by "
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
    """Writes the merged model, in the base's precision, with the service's manifest.

    Args:
        model: The base model's folder.
        adapter: Folder of the adapter, its parents inside.
        out: Becomes the merged model's folder; its name is the model's name.
        prompts: Chats over which both are compared.
        answer_tokens: Length of the answers that are compared.
        progress: Told a line of progress now and then.

    Raises:
        TrainingError: The adapter is for another base or no causal language model, `out` is there
            already, or there is no prompt.
    """
    if out.exists():
        raise TrainingError(f"{out} is there already; choose another name or delete it")
    if not prompts:
        raise TrainingError("there are no prompts to compare over")
    folders = chain(adapter)
    check_base(adapter, model)
    if any(read_adapter(folder).job == "reward" for folder in folders):
        raise TrainingError(f"{adapter} is a reward model: it scores, and writes nothing to serve")
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
    with whole_folder(out) as folder:
        merged.save_pretrained(str(folder))
        for path in model.iterdir():  # the tokenizer, its template, the licence
            weights = path.suffix in _WEIGHTS or path.name.endswith(".index.json")
            if path.is_file() and not weights and path.name not in {MANIFEST, "config.json"}:
                shutil.copyfile(path, folder / path.name)
        stored = _largest(apart, load_model(folder, dtype=merged.dtype), answered)
        agreement = Agreement(largest, plain, rounding, stored, same, len(chats), trained)
        _write_manifest(folder, out.name, model, adapter, agreement)
    return agreement


def is_merged_from(folder: Path, adapter: Path) -> bool:
    """Tells whether a folder holds what `merge` made of an adapter."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False  # whatever is there instead, `merge` does not write over it
    return isinstance(manifest, dict) and manifest.get("adapter") == content_hash(adapter)


def unmerged(model: Path, adapters: Sequence[Path]) -> PeftModel:
    """Returns a base in float32 with all adapters of a chain on top, none folded in."""
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
    """Returns a prompt with the model's greedy answer."""
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
    """Returns how far the merged model is from what was trained, if that was in 4 bits."""
    options = read_adapter(adapter).config.get("lora", {})
    if not options.get("four_bit") or not torch.cuda.is_available():
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
        "files": listing(folder),
    }
    write_json(folder / MANIFEST, document)
