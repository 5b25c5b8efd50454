"""The rows that jobs read: JSON lines, as the builders in `training.data` write them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Literal, TypeVar

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError

from services.common.hashing import sha256_of
from training.errors import TrainingError

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any


Role = Literal["system", "user", "assistant"]


class TrainingRow(BaseModel):
    """Frozen. Members that a job does not read are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)


class Turn(TrainingRow):
    """One chat turn."""

    role: Role
    content: str


Chat = tuple[Turn, ...]


class Prompted(TrainingRow):
    """A row with a prompt."""

    id: str
    kind: Literal["user", "item"] = "user"
    prompt: Chat = Field(validation_alias=AliasChoices("prompt", "messages"))


class ProfileRow(Prompted):
    """A prompt and a profile as its completion."""

    completion: Chat


class DialogueRow(TrainingRow):
    """A chat; the loss covers all assistant turns."""

    id: str
    messages: Chat


class PreferenceRow(Prompted):
    """A prompt with a better and a worse answer; `corruption` names the kind of the worse one."""

    corruption: str
    chosen: Chat
    rejected: Chat


class PolicyRow(Prompted):
    """A prompt for a policy, and the data that rewards need.

    Attributes:
        lines: The user's items, as the prompt lists them.
        neighbours: Profiles of similar users.
    """

    lines: tuple[str, ...]
    neighbours: tuple[str, ...]


RowT = TypeVar("RowT", bound=TrainingRow)


def read_rows(kind: type[RowT], path: Path) -> list[RowT]:
    """Reads all rows of a file.

    Raises:
        TrainingError: The file cannot be read or has no rows, or a row is not of that kind; the
            line is named.
    """
    rows = []
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                if not line.strip():
                    continue
                try:
                    rows.append(kind.model_validate_json(line))
                except ValidationError as error:
                    finding = error.errors(include_url=False, include_input=False)[0]
                    where = ".".join(map(str, finding["loc"]))
                    message = f"{path}, line {number}: {where}: {finding['msg']}"
                    raise TrainingError(message) from error
    except OSError as error:
        raise TrainingError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise TrainingError(f"{path} is not UTF-8 text: {error.reason}") from error
    if not rows:
        raise TrainingError(f"{path} has no rows")
    return rows


def fingerprint(path: Path, rows: int) -> dict[str, Any]:
    """Returns hash and number of rows of a file, and the manifest in its folder if there is one.

    Raises:
        TrainingError: The manifest cannot be read.
    """
    document: dict[str, Any] = {"sha256": sha256_of(path), "rows": rows}
    beside = path.with_name("manifest.json")
    if beside.is_file():
        try:
            document["manifest"] = json.loads(beside.read_text(encoding="utf-8"))
        except ValueError as error:
            raise TrainingError(f"{beside} is not JSON: {error}") from error
    return document
