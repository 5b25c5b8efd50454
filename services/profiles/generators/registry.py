"""The generators there are, by the setting RECLM_GENERATOR.

Each factory imports its module itself: PyTorch is loaded for the local generator alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.profiles.generators.vocabulary import lone_spaces

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from services.profiles.generators.base import Generator
    from services.profiles.settings import GeneratorName, Settings


def _vllm(settings: Settings) -> Generator:
    from services.profiles.generators.vllm import VllmGenerator

    key = settings.vllm_api_key
    return VllmGenerator(
        url=settings.vllm_url,
        model=settings.adapter or settings.model,
        api_key=key.get_secret_value() if key else None,
        timeout_s=settings.model_timeout_s,
        connections=settings.max_concurrent_generations,
        never=lone_spaces(settings.model_path) if settings.model_path else (),
    )


def _local(settings: Settings) -> Generator:
    from services.profiles.generators.local import LocalGenerator

    if settings.model_path is None:
        raise ValueError(
            "RECLM_GENERATOR=local needs RECLM_MODEL_PATH: `reclm-serve models get "
            "SmolLM2-135M-Instruct` prints the folder to set it to"
        )
    return LocalGenerator(folder=settings.model_path, timeout_s=settings.model_timeout_s)


GENERATORS: Mapping[GeneratorName, Callable[[Settings], Generator]] = {
    "vllm": _vllm,
    "local": _local,
}
"""Factories. They raise ValueError for a setting that is missing, and TokenizerError."""
