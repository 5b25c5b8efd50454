"""How a deployment configures the service: environment variables with the prefix RECLM_."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from services.profiles.access.secret_files import SecretFiles

Tenant = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,32}$")]
StoreName = Literal["redis", "memory"]
GeneratorName = Literal["vllm", "local"]
EncoderName = Literal["onnx", "openai"]


class Settings(BaseSettings):
    """All settings of a process. Built once and passed down.

    Durations end in `_s` and are seconds; sizes end in `_bytes`. A secret can also be read from a
    file: RECLM_API_KEYS_FILE for RECLM_API_KEYS, and so on.
    """

    model_config = SettingsConfigDict(env_prefix="RECLM_", frozen=True, extra="ignore")

    tenant: Tenant = "default"
    """Part of the keys of all that is kept for this deployment."""

    # Store
    store: StoreName = "redis"
    """`memory` keeps everything in the one process, and loses it when the process ends."""
    redis_url: SecretStr = SecretStr("redis://127.0.0.1:6379/0")
    redis_password: SecretStr | None = None
    """For a URL without a password."""
    redis_sentinel_password: SecretStr | None = None
    """Of the Sentinels, where they have one; RECLM_REDIS_PASSWORD is that of the servers."""
    redis_wait_replicas: NonNegativeInt = 0
    """How many replicas must have a write before a caller is told that it succeeded."""
    redis_wait_s: PositiveFloat = 0.5
    """How long they may take; less than RECLM_REDIS_TIMEOUT_S."""
    redis_timeout_s: PositiveFloat = 1.0
    redis_connections: PositiveInt = 64
    profile_ttl_s: PositiveInt = 90 * 24 * 3600
    lease_s: PositiveFloat = 4.0
    erasure_ttl_s: Annotated[int, Field(ge=3600)] = 90 * 24 * 3600
    """How long a generation, a queue or a replay may bring back what was erased before; it is refused."""
    stale_max_age_s: PositiveInt = 30 * 24 * 3600
    """The oldest profile of another version that is an answer while the new one is made."""
    anonymous_ttl_s: PositiveInt = 3600
    """How long a profile is kept that `POST /score` made for a history without a user."""

    # Interactions
    max_interactions: PositiveInt = 100
    refresh_quiet_s: PositiveFloat = 2.0
    refresh_max_wait_s: PositiveFloat = 10.0
    refresh_concurrency: PositiveInt = 16
    refresh_attempts: PositiveInt = 12

    # Model
    generator: GeneratorName = "vllm"
    vllm_url: str = "http://127.0.0.1:8000"
    vllm_api_key: SecretStr | None = None
    model: str = "SmolLM2-135M-Instruct"
    """The name under which the model server knows the base model."""
    model_path: Path | None = None
    """The model's folder: its tokenizer counts tokens, its manifest gives the content hash."""
    adapter: str | None = None
    """The name under which the model server knows a LoRA adapter; None for the base model alone."""
    adapter_hash: str = ""
    adapter_path: Path | None = None
    """The adapter's folder: its manifest names the prompt that it must be served with."""
    prompt: str | None = None
    """The version of the prompt; None for the adapter's, or the current one."""
    model_timeout_s: PositiveFloat = 60.0
    generation_timeout_s: PositiveFloat = 120.0
    max_concurrent_generations: PositiveInt = 64
    max_waiting_generations: PositiveInt = 1024
    circuit_failures: PositiveInt = 5
    """Calls to the model or the encoder that fail in a row until it is left alone for a while."""
    circuit_open_s: PositiveFloat = 5.0
    """The longest time between two probes of one that is left alone."""
    history_tokens: PositiveInt = 384
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.4
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] = 0.8
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] = 0.7

    # Encoder
    encoder: EncoderName = "onnx"
    encoder_path: Path | None = None
    """The encoder's folder: model.onnx and tokenizer.json. Needed by the onnx encoder."""
    encoder_url: str | None = None
    """Base URL of a server with /v1/embeddings. Needed by the openai encoder."""
    encoder_model: str = "all-MiniLM-L6-v2"
    encoder_api_key: SecretStr | None = None
    encoder_threads: PositiveInt = 1
    encoder_batch: PositiveInt = 64
    encoder_timeout_s: PositiveFloat = 10.0

    # Scoring
    bundles: Path | None = None
    """Folder of the scorer bundles; None for `bundles` in RECLM_HOME."""
    scorer_poll_s: Annotated[float, Field(gt=0, le=1)] = 0.5
    """How often a worker reads which scorer is active, and which items changed or are withdrawn."""
    score_threads: PositiveInt = 2
    """Long rankings that a worker computes at a time; short ones are computed at once."""
    max_waiting_scores: PositiveInt = 256

    # Access
    api_keys: SecretStr | None = None
    """Bearer keys that callers must send, separated by commas or white space; None: no key is needed."""
    admin_keys: SecretStr | None = None
    """Bearer keys for /metrics and /admin; they are good for all other calls too."""
    bind: str | None = None
    """The address at which others reach the port, if it is not the one listened on: a container's."""

    # HTTP
    max_body_bytes: PositiveInt = 1024 * 1024
    max_item_bytes: PositiveInt = 128 * 1024
    """For an item of the catalogue, whose texts are bounded."""
    max_ids_bytes: PositiveInt = 2 * 1024 * 1024
    """For the ids whose embeddings are asked for."""
    max_batch_bytes: PositiveInt = 64 * 1024 * 1024
    max_batch_rows: PositiveInt = 10_000
    max_bytes_in_flight: Annotated[int, Field(ge=64 * 1024 * 1024)] = 192 * 1024 * 1024
    """Bodies and vectors that one process holds for requests under way; one request has room."""
    max_history: PositiveInt = 1_000
    max_header_bytes: PositiveInt = 16 * 1024
    max_connections: PositiveInt = 4096
    header_timeout_s: PositiveFloat = 10.0
    body_timeout_s: PositiveFloat = 60.0
    write_timeout_s: PositiveFloat = 60.0
    """How long a caller may leave an answer unread."""
    drain_s: PositiveFloat = 30.0
    access_log: bool = False
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @model_validator(mode="after")
    def _admits_every_body(self) -> Self:
        largest = max(self.max_body_bytes, self.max_ids_bytes, self.max_batch_bytes)
        if self.max_bytes_in_flight < largest:
            raise ValueError(
                f"RECLM_MAX_BYTES_IN_FLIGHT is {self.max_bytes_in_flight}, and one body may have "
                f"{largest} bytes: raise it, or lower the limit of the body"
            )
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Reads arguments, variables, and the files that variables name, in this order."""
        del dotenv_settings, file_secret_settings
        return init_settings, env_settings, SecretFiles(settings_cls)


def faults(error: ValueError) -> list[str]:
    """Returns the faults that `Settings()` found, a line for each variable, without the values."""
    if not isinstance(error, ValidationError):
        return [str(error)]
    return [
        f"RECLM_{'_'.join(map(str, finding['loc'])).upper()}: {finding['msg']}"
        if finding["loc"]
        else finding["msg"]  # about several variables, which it names
        for finding in error.errors(include_url=False, include_input=False)
    ]
