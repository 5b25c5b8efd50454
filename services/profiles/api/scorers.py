"""/admin/scorers: which bundles there are, and which one answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Path
from pydantic import StringConstraints

from reclm_client.schemas.score import ActiveScorer, Scorer, Scorers
from services.profiles.api.parts import ServiceParts
from services.profiles.api.problems import documented
from services.profiles.scoring.manifest import NAME

if TYPE_CHECKING:
    from services.profiles.scoring.registry import Listed, Listing

router = APIRouter(prefix="/admin/scorers", tags=["scorers"])

_Name = Annotated[str, Path(description="A bundle's name."), StringConstraints(pattern=NAME)]


@router.get("", summary="List the bundles, and say which one is active", responses=documented(503))
async def list_scorers(parts: ServiceParts) -> Scorers:
    """Returns what is in the folder, each bundle with what its manifest says."""
    listing = await parts.scorers.listing()
    names = listing.names
    scorers = tuple(_scorer(one, listing) for one in listing.bundles)
    return Scorers(names.active, names.previous, scorers)


@router.post(
    "/rollback",
    summary="Go back to the scorer that was active before; a second time undoes it",
    responses=documented(404, 409, 503),
)
async def roll_back(parts: ServiceParts) -> ActiveScorer:
    """Swaps the active scorer and the one before it."""
    names = await parts.scorers.roll_back()
    return ActiveScorer(names.active, names.previous)


@router.post(
    "/{name}/activate",
    summary="Make a bundle the one that answers, on all workers within a second",
    responses=documented(404, 409, 422, 503),
)
async def activate(parts: ServiceParts, name: _Name) -> ActiveScorer:
    """Loads and checks a bundle, and puts it in the place of the one before.

    It is refused, and nothing changes, if it is damaged or was trained on other profiles than the
    service makes. Requests under way are answered by the scorer that they began with.
    """
    names = await parts.scorers.activate(name)
    return ActiveScorer(names.active, names.previous)


def _scorer(one: Listed, listing: Listing) -> Scorer:
    manifest = one.manifest
    return Scorer(
        name=one.name,
        active=one.name == listing.names.active,
        previous=one.name == listing.names.previous,
        loaded=one.name == listing.loaded,
        refused=None if one.refused is None else one.refused.detail,
        kind=None if manifest is None else manifest.kind,
        model=None if manifest is None else manifest.model.name,
        created_at=None if manifest is None else manifest.created_at,
        n_items=None if manifest is None else manifest.n_items,
        n_users=None if manifest is None else manifest.n_users,
        metrics=None if manifest is None else manifest.metrics,
    )
