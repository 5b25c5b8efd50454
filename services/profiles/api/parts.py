"""The parts of the service as an endpoint's parameter."""

from __future__ import annotations

from typing import Annotated, cast

from fastapi import Depends, Request

from services.profiles.parts import Parts


def parts_of(request: Request) -> Parts:
    """Returns the parts of the service that a request came to; the lifespan made them."""
    return cast("Parts", request.app.state.parts)


async def _parts(request: Request) -> Parts:
    return parts_of(request)


ServiceParts = Annotated[Parts, Depends(_parts)]
