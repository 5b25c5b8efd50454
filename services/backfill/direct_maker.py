"""Makes profiles in this process with the service's own parts: the model server, Redis, no HTTP."""

from __future__ import annotations

import contextlib
from dataclasses import asdict
from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import from_json

from services.backfill.errors import Misconfigured
from services.backfill.makers import Made, PushedBack, RowFailed, Version
from services.common.errors import ArtifactError
from services.profiles.api.problems import invalid
from services.profiles.api.profiles import BODIES, to_request
from services.profiles.api.schemas import CatalogueItem
from services.profiles.container import assemble
from services.profiles.errors import (
    EncoderUnavailable,
    ModelUnavailable,
    Overloaded,
    ReclmError,
    StoreUnavailable,
)
from services.profiles.telemetry import Metrics

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from services.backfill.rows import Row
    from services.client import Item, Kind
    from services.profiles.api.state import Parts
    from services.profiles.settings import Settings

M = TypeVar("M", bound=BaseModel)

_PASSING = (Overloaded, ModelUnavailable, EncoderUnavailable, StoreUnavailable)


class DirectMaker:
    """Profiles from the parts that the service is made of.

    Args:
        settings: As the service's.
        kind: Of all profiles.
    """

    def __init__(self, *, settings: Settings, kind: Kind) -> None:
        self._settings = settings
        self._kind: Kind = kind
        self._stack = contextlib.AsyncExitStack()
        self._metrics = Metrics()
        self._made: Parts | None = None

    async def __aenter__(self) -> Self:
        """Loads the encoder and the tokenizer.

        Raises:
            Misconfigured: The settings leave something out, or name a folder that holds no model.
        """
        async with contextlib.AsyncExitStack() as stack:
            try:
                self._made = await assemble(self._settings, self._metrics, stack)
            except (ValueError, EncoderUnavailable) as error:
                raise Misconfigured(str(error)) from error
            except ArtifactError as error:
                raise Misconfigured(f"RECLM_MODEL_PATH: {error}") from error
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Lets generations under way finish, and closes all connections."""
        await self._stack.aclose()

    @property
    def _parts(self) -> Parts:
        if self._made is None:
            raise RuntimeError("the maker has not been entered")
        return self._made

    async def version(self) -> Version:
        """Returns the version of the settings."""
        version = self._parts.profiles.version
        return Version(version.digest().hex(), asdict(version))

    async def make(self, row: Row, *, max_age_s: float | None) -> Made:
        """Does what the service does for one request."""
        history = [entry if isinstance(entry, str) else _document(entry) for entry in row.history]
        document: dict[str, object] = {"id": row.id, "history": history, "background": True}
        if max_age_s is not None:
            document["max_age_s"] = max_age_s
        body = _checked(BODIES[self._kind], document)
        try:
            request = to_request(body, self._kind, self._settings)
            answer = await self._parts.profiles.profile(request)
        except ReclmError as error:
            raise _understood(error) from error
        if answer.status not in {"generated", "cached"}:
            raise PushedBack(f"the model is away: there is only a {answer.status} profile")
        stored = answer.stored
        return Made(
            id=row.id,
            text=from_json(b"{%s}" % stored.fragment)["text"],
            vector=stored.vector,
            status=answer.status,
            version=stored.version_digest.hex(),
            input_hash=stored.input_hash.hex(),
            created_ms=stored.created_ms // 1000 * 1000,
        )

    async def put_items(self, items: Sequence[Item]) -> list[tuple[Item, RowFailed]]:
        """Stores what the service would take."""
        refused, good = [], []
        for item in items:
            try:
                checked = _checked(CatalogueItem, {**_document(item), "id": item.id})
            except RowFailed as error:
                refused.append((item, error))
            else:
                good.append(checked.to_item(checked.id))
        try:
            await self._parts.catalogue.put_items(self._settings.tenant, good)
        except ReclmError as error:
            raise _understood(error) from error
        return refused

    async def tokens(self) -> tuple[int, int]:
        """Returns what this process has had the model read and write."""
        counter = self._metrics.model_tokens
        prompt, completion = (
            int(sample.value)
            for direction in ("prompt", "completion")
            for metric in counter.labels(direction).collect()
            for sample in metric.samples
            if sample.name.endswith("_total")
        )
        return prompt, completion


def _document(item: Item) -> dict[str, str]:
    return {name: text for name, text in asdict(item).items() if text or name == "title"}


def _checked(model: type[M], document: dict[str, object] | dict[str, str]) -> M:
    """Returns a document as the service's schema has it; RowFailed where it refuses it."""
    try:
        return model.model_validate(document)
    except ValidationError as error:
        found = invalid(error.errors(include_url=False, include_input=False), root="body")
        raise RowFailed(found.code, found.detail) from error


def _understood(error: ReclmError) -> RowFailed | PushedBack:
    """Returns what an error means for the job."""
    if isinstance(error, _PASSING):
        return PushedBack(f"{error.code}: {error.detail}", error.retry_after or 0.0)
    unknown = error.data.get("unknown")
    return RowFailed(
        error.code, error.detail, list(map(str, unknown)) if isinstance(unknown, list) else ()
    )
