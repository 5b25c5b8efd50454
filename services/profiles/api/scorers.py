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
    from services.profiles.stores.base import ActiveRefs

router = APIRouter(prefix="/admin/scorers", tags=["scorers"])

_Name = Annotated[str, Path(description="A bundle's name."), StringConstraints(pattern=NAME)]


@router.get("", summary="List the bundles, and say which one is active", responses=documented(503))
async def list_scorers(parts: ServiceParts) -> Scorers:
    """Returns what is in the folder of the host that answers, with the hash of each bundle."""
    listing = await parts.scorers.listing()
    scorers = tuple(_scorer(one, listing) for one in listing.bundles)
    return Scorers(*_members(listing.refs), scorers=scorers)


@router.post(
    "/rollback",
    summary="Go back to the scorer that was active before; a second time undoes it",
    responses=documented(404, 409, 503),
)
async def roll_back(parts: ServiceParts) -> ActiveScorer:
    """Swaps the active scorer and the one before it."""
    return ActiveScorer(*_members(await parts.scorers.roll_back()))


@router.post(
    "/{name}/activate",
    summary="Make a bundle the one that answers, on all workers within a second",
    responses=documented(404, 409, 422, 503),
)
async def activate(parts: ServiceParts, name: _Name) -> ActiveScorer:
    """Loads and checks a bundle, and puts it in the place of the one before.

    What becomes active is the content that the folder has now: another content under the name of the
    active bundle is another bundle. It is refused, and nothing changes, if it is damaged or was
    trained on other profiles or vectors than the service makes. Requests under way are answered by the scorer that they began with.
    """
    return ActiveScorer(*_members(await parts.scorers.activate(name)))


def _members(refs: ActiveRefs) -> tuple[str | None, str | None, str | None, str | None]:
    active, previous = refs.active, refs.previous
    return (
        None if active is None else active.name,
        None if previous is None else previous.name,
        None if active is None else active.content,
        None if previous is None else previous.content,
    )


def _scorer(one: Listed, listing: Listing) -> Scorer:
    manifest = one.manifest
    return Scorer(
        name=one.name,
        active=one.stands_for(listing.refs.active),
        previous=one.stands_for(listing.refs.previous),
        loaded=one.stands_for(listing.loaded),
        refused=None if one.refused is None else one.refused.detail,
        kind=None if manifest is None else manifest.kind,
        model=None if manifest is None else manifest.model.name,
        created_at=None if manifest is None else manifest.created_at,
        n_items=None if manifest is None else manifest.n_items,
        n_users=None if manifest is None else manifest.n_users,
        metrics=None if manifest is None else manifest.metrics,
        content=one.content,
        conflict=one.conflict,
    )
