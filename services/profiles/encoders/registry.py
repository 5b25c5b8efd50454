"""The sentence encoders there are, by the setting RECLM_ENCODER.

Each factory imports its module itself: a service loads the libraries of one encoder alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from services.profiles.encoders.base import Encoder
    from services.profiles.settings import EncoderName, Settings

    OnBatch = Callable[[int], None]


def _onnx(settings: Settings, on_batch: OnBatch) -> Encoder:
    from services.profiles.encoders.onnx import OnnxEncoder

    if settings.encoder_path is None:
        raise ValueError(
            "RECLM_ENCODER_PATH is not set: `reclm-serve models get all-MiniLM-L6-v2-int8` "
            "prints the folder to set it to"
        )
    return OnnxEncoder(
        settings.encoder_path,
        threads=settings.encoder_threads,
        max_batch=settings.encoder_batch,
        on_batch=on_batch,
    )


def _openai(settings: Settings, on_batch: OnBatch) -> Encoder:
    from services.profiles.encoders.openai import OpenAIEncoder

    if settings.encoder_url is None:
        raise ValueError("RECLM_ENCODER=openai needs RECLM_ENCODER_URL")
    key = settings.encoder_api_key
    return OpenAIEncoder(
        url=settings.encoder_url,
        model=settings.encoder_model,
        api_key=key.get_secret_value() if key else None,
        timeout_s=settings.encoder_timeout_s,
        max_batch=settings.encoder_batch,
        on_batch=on_batch,
    )


ENCODERS: Mapping[EncoderName, Callable[[Settings, OnBatch], Encoder]] = {
    "onnx": _onnx,
    "openai": _openai,
}
"""Factories. They raise ValueError for a setting that is missing, and EncoderUnavailable."""
