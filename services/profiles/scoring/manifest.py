"""The manifest of a bundle, `manifest.json`, which is checked before other files are opened."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    NonNegativeInt,
    PositiveInt,
    StringConstraints,
    ValidationError,
)
from pydantic_core import from_json

from services.profiles.domain.profile import Component, ProfileVersion
from services.profiles.errors import DamagedBundle

if TYPE_CHECKING:
    from pathlib import Path

FORMAT = 2
FORMATS = (1, 2)
"""The formats that are read. A bundle of format 1 has no gate: its profiles always count."""

NAME = r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}$"
"""A bundle's name, which is also its folder's: no path, and no hidden file."""

FILE = "manifest.json"
_MAX_BYTES = 4 * 1024 * 1024

Name = Annotated[str, StringConstraints(pattern=NAME)]


class _Record(BaseModel):
    # Unknown members are ignored; incompatible changes have another `format`.
    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)


class ComponentRecord(_Record):
    """A component: name and content hash."""

    name: str
    hash: str

    def to_component(self) -> Component:
        """Returns the component as a domain value."""
        return Component(self.name, self.hash)


class VersionRecord(_Record):
    """A profile version."""

    base_model: ComponentRecord
    adapter: ComponentRecord | None
    prompt: ComponentRecord
    encoder: ComponentRecord

    def to_version(self) -> ProfileVersion:
        """Returns the version as a domain value."""
        return ProfileVersion(
            base_model=self.base_model.to_component(),
            adapter=None if self.adapter is None else self.adapter.to_component(),
            prompt=self.prompt.to_component(),
            encoder=self.encoder.to_component(),
        )


class ModelRecord(_Record):
    """The model that was trained."""

    name: str
    options: dict[str, JsonValue]


class FileRecord(_Record):
    """Checksum and size of a file."""

    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    bytes: NonNegativeInt


class SegmentRecord(_Record):
    """How much better profiles are than none for some users and items, on validation.

    Attributes:
        clicks: The least number of known items of these users; up to that of the next segment.
        items: `warm` items have training interactions, `cold` ones have none.
        users: Number of users that it was measured on.
        low: The lower end of the interval of the difference: profiles are not worse than by that.
            None if there were too few users to say.
    """

    clicks: NonNegativeInt
    items: Literal["warm", "cold"]
    users: NonNegativeInt
    low: float | None


class GateRecord(_Record):
    """Where profiles count.

    Attributes:
        margin: Where profiles may be worse than none by more than this, they do not count.
        segments: Users by their clicks, and items.
    """

    metric: str
    level: float
    margin: Annotated[float, Field(ge=0)]
    segments: list[SegmentRecord]


class BundleManifest(_Record):
    """A bundle's manifest.

    Attributes:
        encoder: The encoder of the profiles; None for a model that reads none.
        profiles: The version of the profiles in the training data; None if it is unknown.
        erasures_as_of: Users who were erased until then, in Unix milliseconds, were left out; None
            if the export did not know who was.
        gate: Where profiles count; None if it was not measured, and they always do.
        files: All other files of the bundle, by name.
    """

    format: Literal[1, 2]
    name: Name
    created_at: str
    kind: Literal["factors", "weights"]
    model: ModelRecord
    dataset: JsonValue
    split: JsonValue
    encoder: ComponentRecord | None
    profiles: VersionRecord | None
    n_items: PositiveInt
    n_users: NonNegativeInt
    dimension: NonNegativeInt
    history_dimension: NonNegativeInt
    profile_dimension: NonNegativeInt
    metrics: dict[str, float]
    erasures_as_of: NonNegativeInt | None = None
    gate: GateRecord | None = None
    files: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9_]+\.[a-z]+$")], FileRecord]


def read(folder: Path) -> BundleManifest:
    """Returns the manifest of a bundle.

    Raises:
        DamagedBundle: There is none, or this service cannot read it.
    """
    path = folder / FILE
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise DamagedBundle(f"{folder.name}: {FILE} is over {_MAX_BYTES} bytes")
        raw = path.read_bytes()
        document = from_json(raw)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise DamagedBundle(f"{folder.name}: {FILE} cannot be read: {why}") from error
    if isinstance(document, dict) and document.get("format") not in FORMATS:
        raise DamagedBundle(
            f"{folder.name}: {FILE} has format {document.get('format')!r}, and this service reads "
            f"formats {FORMATS[0]} and {FORMATS[1]}; export the bundle with the release that the service is of"
        )
    try:
        manifest = BundleManifest.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise DamagedBundle(f"{folder.name}: {FILE}: {where}: {first['msg']}") from error
    if manifest.name != folder.name:
        raise DamagedBundle(
            f"{folder.name}: {FILE} is that of {manifest.name!r}; a bundle's folder has its name"
        )
    return manifest
