"""The model that a job trains: the base with earlier adapters merged in, and a new adapter on top.

With the new adapter switched off, it is the model that the job starts from. Reinforcement learning
uses that as its reference policy, at no extra memory.
"""

from __future__ import annotations

import importlib.util
import os
from typing import TYPE_CHECKING, Any, Self

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BitsAndBytesConfig,
    set_seed,
)

from training.adapters.manifest import chain, check_base
from training.errors import TrainingError
from training.modeling.chat import set_padding

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from training.runs.options import JobOptions, LoraOptions

_SCALES = ("logits_scaling", "logit_scale", "final_logit_softcapping")
"""Options of models that scale or cap their logits."""


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """Returns a model's tokenizer, padding with a token that no chat contains."""
    tokenizer = AutoTokenizer.from_pretrained(str(folder))
    if not tokenizer.chat_template:
        raise TrainingError(f"the tokenizer in {folder} has no chat template; take a chat model")
    set_padding(tokenizer)
    return tokenizer


def load_model(
    folder: Path,
    adapters: Sequence[Path] = (),
    *,
    dtype: torch.dtype,
    scoring: bool = False,
    quantization: BitsAndBytesConfig | None = None,
) -> PreTrainedModel:
    """Loads a base model and merges adapters into it, in order, in float32.

    Args:
        folder: Folder of the base model.
        adapters: PEFT folders, each trained on top of those before.
        dtype: Data type of the result.
        scoring: Whether to replace the language model head by a head for one number. The old head's
            weights stay as `word_head`, (tokens, d), neither trained nor saved; None if logits are
            not plainly their product with the hidden states.
        quantization: Load in 4 bits; no adapter can be merged then.
    """
    options: dict[str, Any] = {"attn_implementation": "sdpa"}
    if quantization is not None:
        options["quantization_config"] = quantization
        options["device_map"] = {"": int(os.environ.get("LOCAL_RANK", "0"))}
    loaded_as = torch.float32 if adapters else dtype
    words: Any = AutoModelForCausalLM.from_pretrained(str(folder), dtype=loaded_as, **options)
    for adapter in adapters:
        words = PeftModel.from_pretrained(words, str(adapter)).merge_and_unload()
    if quantization is None:
        words.to(dtype)
    result: PreTrainedModel = _scoring(folder, words) if scoring else words
    return result


class ScoringHead(nn.Linear):
    """A linear layer that keeps its weights and computes in float32, also under autocast.

    In bfloat16 most steps would be too small to change its weights, and close scores would be equal.
    """

    @classmethod
    def like(cls, head: nn.Linear) -> Self:
        """Returns a scoring head with the weights of a head without bias."""
        new = cls(head.in_features, head.out_features, bias=False)
        new.weight.data = head.weight.detach().float()
        return new

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 - the name in the method that it overrides
        """Returns scores, float32."""
        with torch.autocast(input.device.type, enabled=False):
            return nn.functional.linear(input.float(), self.weight.float())


def _scoring(
    folder: Path,
    words: Any,
) -> PreTrainedModel:
    """Returns a model with an untrained scoring head on the body of a language model."""
    scorer = AutoModelForSequenceClassification.from_pretrained(
        str(folder), num_labels=1, dtype=words.dtype, attn_implementation="sdpa"
    )
    setattr(scorer, scorer.base_model_prefix, getattr(words, words.base_model_prefix))
    scorer.score = ScoringHead.like(scorer.score)
    head = words.get_output_embeddings()
    more = [getattr(head, "bias", None), *(getattr(words.config, name, None) for name in _SCALES)]
    plain = all(value is None for value in more)
    scorer.register_buffer("word_head", head.weight.detach() if plain else None, persistent=False)
    result: PreTrainedModel = scorer
    return result


def start_model(
    folder: Path, start: Path | None, options: JobOptions, *, scoring: bool = False
) -> PreTrainedModel:
    """Returns the model that a job starts from: the base with earlier adapters merged in.

    Raises:
        TrainingError: The adapter is for another base, or 4 bits are not possible here.
    """
    adapters = [] if start is None else chain(start)
    if start is not None:
        check_base(start, folder)
    quantization = four_bit(adapters) if options.lora.load_in_4bit else None
    set_seed(options.seed)  # for the initial weights of the adapter and of a scoring head
    dtype = torch.bfloat16 if options.bf16 else torch.float32
    return load_model(folder, adapters, dtype=dtype, scoring=scoring, quantization=quantization)


def lora_config(options: LoraOptions, *, scoring: bool = False) -> LoraConfig:
    """Returns PEFT's configuration of an adapter; a scoring head is trained and saved with it."""
    return LoraConfig(
        **options.model_dump(mode="json", exclude={"load_in_4bit"}),
        task_type="SEQ_CLS" if scoring else "CAUSAL_LM",
        modules_to_save=["score"] if scoring else None,
    )


def add_adapter(
    model: PreTrainedModel, options: LoraOptions, *, scoring: bool = False
) -> PeftModel:
    """Adds a new adapter to a model; all other weights but a scoring head's are frozen.

    The weights of the adapter and of a scoring head are float32 in a model of any type: in bfloat16
    most steps would be too small to change them.
    """
    return get_peft_model(model, lora_config(options, scoring=scoring))


def four_bit(adapters: Sequence[Path]) -> BitsAndBytesConfig:
    """Returns the configuration of a base in 4 bits (QLoRA, arXiv 2305.14314).

    Raises:
        TrainingError: There is no CUDA GPU or no bitsandbytes, or adapters would have to be merged
            into the 4-bit base.
    """
    if not torch.cuda.is_available():
        raise TrainingError(
            "lora.load_in_4bit needs a CUDA GPU, and there is none here; set it to false: LoRA "
            "in bfloat16 trains the same layers"
        )
    if importlib.util.find_spec("bitsandbytes") is None:
        raise TrainingError("lora.load_in_4bit needs bitsandbytes: pip install bitsandbytes")
    if adapters:
        raise TrainingError(
            "adapters cannot be merged into a 4-bit model: merge them first (reclm-train merge) and "
            "give the merged model as --model"
        )
    return BitsAndBytesConfig(  # type: ignore[no-untyped-call]
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
