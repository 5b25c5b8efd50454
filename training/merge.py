"""Folding an adapter, with all that it was trained on top of, into its base model.

The result is a plain model folder, which any server serves at full speed. That it is the same
model is measured, not assumed: logits and greedy answers, before and after.
"""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from services.profiles.prompts import user_messages
from training.adapters import chain, check_base, read_adapter
from training.chat import prompt_text, token_ids
from training.errors import TrainingError
from training.files import MANIFEST, content_hash, licence_of, listing, whole_folder, write_json
from training.lora import four_bit, load_model, load_tokenizer
from training.rows import Turn

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from transformers import PreTrainedTokenizerBase

PROBES = tuple(
    tuple(
        Turn(role=turn.role, content=turn.content) for turn in user_messages(lines, examples=False)
    )
    for lines in (
        ["Head torch with red light | Camping, Lighting", "Freeze-dried meals for two | Camping"],
        ["Sense and Sensibility (1995) | Drama, Romance", "The Piano (1993) | Drama, Romance"],
        ["Blade Runner (1982) | Film-Noir, Sci-Fi"],
    )
)
"""Prompts to compare over where none are given."""

_TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "generation_config.json")


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far a merged model is from its base with the adapters on top, over some prompts.

    Attributes:
        largest: Difference of two logits, in float32.
        stored: The same for the model as it is stored, in its own precision.
        same_answers: Greedy answers, in float32, that are equal token for token.
        prompts: Number of prompts.
        trained: The same as `largest`, against the base in 4 bits that the adapter was trained
            on; None where it was trained on the base as it is, or there is no GPU to tell.
        exact: The same as `largest`, with the same float32 parameters, computed in float64: without
            the noise of computing (but that of norms, which transformers computes in float32).
            None unless asked for.
        noise: What that noise is: the merged model's logits in float32 against its own in float64.
    """

    largest: float
    stored: float
    same_answers: int
    prompts: int
    trained: float | None = None
    exact: float | None = None
    noise: float | None = None

    def __str__(self) -> str:
        parts = [f"{self.largest:.1e} in float32", f"{self.stored:.1e} as stored"]
        if self.exact is not None:
            parts.append(f"{self.exact:.1e} in float64 (float32's own noise is {self.noise:.1e})")
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
    exact: bool = False,
) -> Agreement:
    """Writes the merged model, in the base's precision, with the service's manifest.

    Args:
        model: The base model's folder.
        adapter: Folder of the adapter, its parents inside.
        out: Becomes the merged model's folder; its name is the model's name.
        prompts: Chats over which both are compared.
        answer_tokens: Length of the answers that are compared.
        exact: Compare in float64 too, which takes 20 bytes of memory a parameter.

    Raises:
        TrainingError: The adapter is for another base or no causal language model, or `out` is
            there already.
    """
    if out.exists():
        raise TrainingError(f"{out} is there already; choose another name or delete it")
    folders = chain(adapter)
    check_base(adapter, model)
    if any(read_adapter(folder).job == "reward" for folder in folders):
        raise TrainingError(f"{adapter} is a reward model: it scores, and writes nothing to serve")
    tokenizer = load_tokenizer(model)
    chats = [token_ids(tokenizer, prompt_text(tokenizer, turns)) for turns in prompts]
    merged: Any = load_model(model, folders, dtype=torch.float32)
    apart = unmerged(model, folders)
    largest, same = _compare(apart, merged, chats, tokenizer, answer_tokens)
    trained = _against_four_bits(model, adapter, merged, chats)
    without_noise, noise = _in_float64(apart, merged, chats) if exact else (None, None)
    merged.to(_stored_dtype(model))
    with whole_folder(out) as folder:
        merged.save_pretrained(str(folder))
        for name in _TOKENIZER:
            if (model / name).is_file():
                (folder / name).write_bytes((model / name).read_bytes())
        stored = _largest(apart, load_model(folder, dtype=merged.dtype), chats)
        agreement = Agreement(largest, stored, same, len(chats), trained, without_noise, noise)
        _write_manifest(folder, out.name, model, adapter, agreement)
    return agreement


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


def _compare(
    apart: Any,
    merged: Any,
    chats: Sequence[list[int]],
    tokenizer: PreTrainedTokenizerBase,
    answer_tokens: int,
) -> tuple[float, int]:
    """Returns the largest difference of logits, and how many greedy answers are equal."""
    same = 0
    for ids in chats:
        prompt = torch.tensor([ids])
        answers = [
            one.generate(
                input_ids=prompt,
                attention_mask=torch.ones_like(prompt),
                max_new_tokens=answer_tokens,
                do_sample=False,
                pad_token_id=tokenizer.pad_token_id,
            )
            for one in (apart, merged)
        ]
        same += torch.equal(*answers)
    return _largest(apart, merged, chats), same


@torch.no_grad()
def _largest(apart: Any, merged: Any, chats: Sequence[list[int]]) -> float:
    largest = 0.0
    for ids in chats:
        prompt = torch.tensor([ids])
        ours, theirs = (
            one(input_ids=prompt.to(one.device)).logits.cpu() for one in (apart, merged)
        )
        largest = max(largest, float((ours - theirs).abs().max()))
    return largest


def _in_float64(apart: Any, merged: Any, chats: Sequence[list[int]]) -> tuple[float, float]:
    """Returns the largest difference in float64, and of the merged model's two precisions."""
    precise = deepcopy(merged).double()
    found = _largest(apart.double(), precise, chats), _largest(merged, precise, chats)
    apart.float()
    return found


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
