"""Erases at a running service, and counts what it had before and has afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from reclm_client import Copy, NotFound, ReclmApiError, ReclmClient, ReclmClientError
from services.erasure.errors import ErasureError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from types import TracebackType
    from typing import Self

    from reclm_client import Kind

_LONGEST = 256
"""Characters of an id that the service takes."""


@dataclass(frozen=True, slots=True)
class Held:
    """What the service holds under an id.

    Attributes:
        profiles: 0 or 1, and 1 for each further id under which there is a profile.
        interactions: Events of a user; 0 for items.
        catalogue: Entries of an item in the catalogue; 0 for users.
    """

    profiles: int
    interactions: int
    catalogue: int


class ServiceEraser:
    """Erases over HTTP. Every method raises ErasureError.

    Args:
        url: URL of the service; the key is that of RECLM_API_KEY or RECLM_API_KEY_FILE.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        try:
            self._client = ReclmClient(url)
        except ValueError as error:  # the URL, or the key that the environment names
            raise ErasureError(str(error)) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._client.close()

    def held(self, kind: Kind, ids: Sequence[str]) -> Held:
        """Returns what the service holds under the first id, and profiles under the others.

        Raises:
            ErasureError: The service cannot be reached, or refuses.
        """
        try:
            return Held(
                profiles=sum(self._has_profile(kind, id_) for id_ in ids),
                interactions=len(self._client.interactions(ids[0])) if kind == "user" else 0,
                catalogue=self._in_catalogue(ids[0]) if kind == "item" else 0,
            )
        except ReclmClientError as error:
            raise self._failed(error) from error

    def erase(self, kind: Kind, ids: Sequence[str]) -> None:
        """Erases profiles with all that derives from them, and an item's entry in the catalogue.

        Raises:
            ErasureError: The service cannot be reached, or refuses.
        """
        try:
            for id_ in ids:
                self._client.delete_profile(kind, id_)
            if kind == "item":
                self._client.delete_item(ids[0])
        except ReclmClientError as error:
            raise self._failed(error) from error

    def activate_again(self, bundles: Collection[str]) -> list[str]:
        """Activates the active bundle once more if it is one of these; returns its name then.

        Raises:
            ErasureError: The service cannot be reached, or refuses.
        """
        try:
            # One that was rewritten has another content now, and conflicts with what is active.
            again = [
                one.name
                for one in self._client.scorers()
                if one.name in bundles and (one.active or one.conflict)
            ]
            for name in again:
                self._client.activate_scorer(name)
        except ReclmClientError as error:
            raise self._failed(error) from error
        return again

    def copies(self) -> tuple[Copy, ...]:
        """Returns what may still hold copies, as far as the service tells it to this key."""
        try:
            return self._client.copies()
        except ReclmApiError as error:
            return (
                Copy(f"what the service at {self._url} did not tell: {error}", "unknown", None),
            )
        except ReclmClientError as error:
            raise self._failed(error) from error

    def _has_profile(self, kind: Kind, id_: str) -> int:
        try:
            self._client.get_profile(kind, id_)
        except NotFound:
            return 0
        return 1

    def _in_catalogue(self, id_: str) -> int:
        try:
            self._client.get_item(id_)
        except NotFound:
            return 0
        return 1

    def _failed(self, error: ReclmClientError) -> ErasureError:
        return ErasureError(
            f"the service at {self._url}: {error}; run the same command again when that is mended"
        )


def accepted(ids: Sequence[str]) -> tuple[str, ...]:
    """Returns the ids that the service takes; under longer ones it never stored anything."""
    return tuple(id_ for id_ in ids if len(id_) <= _LONGEST)
