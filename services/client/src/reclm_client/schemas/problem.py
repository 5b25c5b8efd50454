"""Errors as problem documents (RFC 9457)."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from reclm_client.schemas.fields import is_none


class Finding(BaseModel):
    """One thing wrong with the input: where, and why."""

    where: str
    why: str


class Difference(BaseModel):
    """What a bundle was trained on and the service has otherwise."""

    what: str
    bundle: str
    service: str


class Problem(BaseModel):
    """A problem document (RFC 9457). Some problems have further members."""

    model_config = ConfigDict(extra="allow")

    type: str = "about:blank"
    title: str = ""
    status: int = 0
    detail: str = ""
    code: str = ""
    request_id: str = ""
    errors: Annotated[list[Finding] | None, Field(exclude_if=is_none)] = None
    unknown: Annotated[list[str] | None, Field(exclude_if=is_none)] = None
    unknown_count: Annotated[int | None, Field(exclude_if=is_none)] = None
    differences: Annotated[list[Difference] | None, Field(exclude_if=is_none)] = None
    retry_after: Annotated[int | None, Field(exclude_if=is_none)] = None
