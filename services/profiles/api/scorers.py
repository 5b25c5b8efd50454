"""/admin/scorers: which bundles there are, and which one answers."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Path, Request, Response
from pydantic import StringConstraints
from pydantic_core import to_json

from services.profiles.api.documents import ActiveScorerDocument, ScorersDocument
from services.profiles.api.problems import documented
from services.profiles.api.state import parts_of
from services.profiles.scoring.manifest import NAME

if TYPE_CHECKING:
    from services.profiles.scoring.registry import Listed, Listing
    from services.profiles.stores.base import ScorerNames

router = APIRouter(prefix="/admin/scorers", tags=["scorers"])

_Name = Annotated[str, Path(description="A bundle's name."), StringConstraints(pattern=NAME)]


@router.get(
    "",
    summary="List the bundles, and say which one is active",
    response_class=Response,
    responses={200: {"model": ScorersDocument}, **documented(503)},
)
async def list_scorers(request: Request) -> Response:
    """Returns what is in the folder, each bundle with what its manifest says."""
    listing = await parts_of(request).scorers.listing()
    body = {**asdict(listing.names), "scorers": [_row(one, listing) for one in listing.bundles]}
    return Response(to_json(body), media_type="application/json")


@router.post(
    "/rollback",
    summary="Go back to the scorer that was active before; a second time undoes it",
    response_class=Response,
    responses={200: {"model": ActiveScorerDocument}, **documented(404, 409, 503)},
)
async def roll_back(request: Request) -> Response:
    """Swaps the active scorer and the one before it."""
    return _names(await parts_of(request).scorers.roll_back())


@router.post(
    "/{name}/activate",
    summary="Make a bundle the one that answers, on all workers within a second",
    response_class=Response,
    responses={200: {"model": ActiveScorerDocument}, **documented(404, 409, 422, 503)},
)
async def activate(request: Request, name: _Name) -> Response:
    """Loads and checks a bundle, and puts it in the place of the one before.

    It is refused, and nothing changes, if it is damaged or was trained on other profiles than the
    service makes. Requests under way are answered by the scorer that they began with.
    """
    return _names(await parts_of(request).scorers.activate(name))


def _names(names: ScorerNames) -> Response:
    return Response(to_json(asdict(names)), media_type="application/json")


def _row(one: Listed, listing: Listing) -> dict[str, object]:
    manifest = one.manifest
    return {
        "name": one.name,
        "active": one.name == listing.names.active,
        "previous": one.name == listing.names.previous,
        "loaded": one.name == listing.loaded,
        "refused": one.refused and one.refused.detail,
        "kind": manifest and manifest.kind,
        "model": manifest and manifest.model.name,
        "created_at": manifest and manifest.created_at,
        "n_items": manifest and manifest.n_items,
        "n_users": manifest and manifest.n_users,
        "metrics": manifest and manifest.metrics,
    }
