"""Runs the model inside the service with transformers, for machines without vLLM. It is slower.

Decoding is constrained to the pattern by xgrammar, which vLLM uses as well.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import torch
import xgrammar
from transformers import AutoModelForCausalLM, AutoTokenizer
from xgrammar.contrib.hf import LogitsProcessor as GrammarProcessor

from services.profiles.errors import ModelTooSlow, ModelUnavailable
from services.profiles.generators.base import Generation, turns
from services.profiles.generators.vocabulary import lone_spaces

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from services.profiles.generators.base import GenerationRequest


class LocalGenerator:
    """A generator in this process, which answers one prompt at a time in a thread.

    Args:
        folder: The model: safetensors, config and tokenizer.
        timeout_s: Limit for an answer, with the time that it waits for its turn.
    """

    def __init__(self, *, folder: Path, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="generator")
        self._tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self._model: Any = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, local_files_only=True, use_safetensors=True
        )
        self._model.requires_grad_(False)
        self._model.train(mode=False)
        self._never = list(lone_spaces(folder)) or None
        self._compiler = xgrammar.GrammarCompiler(
            xgrammar.TokenizerInfo.from_huggingface(
                self._tokenizer, vocab_size=self._model.config.vocab_size
            )
        )

    async def generate(self, request: GenerationRequest) -> Generation:
        """Answers one prompt, after those that came before it."""
        loop = asyncio.get_running_loop()
        future = loop.run_in_executor(self._thread, self._generate, request)
        try:
            async with asyncio.timeout(self._timeout_s):
                return await future
        except TimeoutError as error:
            raise ModelTooSlow(
                f"the in-process model did not answer within {self._timeout_s:g} s"
            ) from error
        except (RuntimeError, ValueError) as error:
            raise ModelUnavailable(f"the in-process model failed: {error}") from error

    async def context_window(self) -> int:
        """Returns the number of positions in the model's configuration."""
        return int(self._model.config.max_position_embeddings)

    async def check(self) -> None:
        """Does nothing: a loaded model is ready."""

    async def aclose(self) -> None:
        """Refuses new prompts, and lets the answer under way finish."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _generate(self, request: GenerationRequest) -> Generation:
        prompt: Any = self._tokenizer.apply_chat_template(
            turns(request.messages, begun=request.begun),
            add_generation_prompt=not request.begun,
            continue_final_message=bool(request.begun),
            return_tensors="pt",
            return_dict=True,
        )
        prompt_tokens = prompt["input_ids"].shape[1]
        grammar = self._compiler.compile_regex(request.pattern)
        sampled = request.temperature > 0
        with torch.inference_mode():
            output = self._model.generate(
                **prompt,
                max_new_tokens=request.max_tokens,
                do_sample=sampled,
                temperature=request.temperature if sampled else None,
                top_p=None,
                top_k=None,
                suppress_tokens=self._never,
                bad_words_ids=self._tokens(request.unwanted) or None,
                pad_token_id=self._tokenizer.pad_token_id,
                logits_processor=[
                    _Penalties(request, prompt_tokens),
                    GrammarProcessor(grammar),
                ],
            )
        answer = output[0, prompt_tokens:]
        text = self._tokenizer.decode(answer, skip_special_tokens=True)
        return Generation(str(text), prompt_tokens, len(answer))

    def _tokens(self, phrases: Sequence[str]) -> list[list[int]]:
        """Returns phrases in tokens, with a space before each, as after a comma."""
        return [
            self._tokenizer.encode(f" {phrase}", add_special_tokens=False) for phrase in phrases
        ]


class _Penalties:
    """Presence and frequency penalties on the answer so far, as in the OpenAI API.

    transformers has only a multiplicative penalty, which applies to the prompt as well.
    """

    def __init__(self, request: GenerationRequest, prompt_tokens: int) -> None:
        self._presence = request.presence_penalty
        self._frequency = request.frequency_penalty
        self._prompt_tokens = prompt_tokens

    def __call__(self, tokens: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        answer = tokens[:, self._prompt_tokens :]
        counts = torch.zeros_like(logits).scatter_add_(
            1, answer, torch.ones_like(answer, dtype=logits.dtype)
        )
        return logits - self._presence * (counts > 0) - self._frequency * counts
