"""Reads ids from request paths: all of their bytes, or not at all."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import unquote_to_bytes

from fastapi import Depends, Path, Request

from reclm_client.schemas.fields import Id
from services.profiles.errors import InvalidInput

_REPLACEMENT = "\ufffd"
"""What servers decode bytes to that are not UTF-8: many different paths to the same id."""


_Decoded = Annotated[Id, Path()]


async def _path_id(request: Request, id: _Decoded) -> str:  # noqa: A002 - the field's name
    if _REPLACEMENT in id:
        try:
            unquote_to_bytes(request.scope["raw_path"]).decode()
        except UnicodeDecodeError as error:
            raise InvalidInput(
                "request.path.id: not UTF-8; percent-encode the bytes of the id's UTF-8"
            ) from error
    return id


PathId = Annotated[str, Depends(_path_id)]
"""The id at the end of a path."""
