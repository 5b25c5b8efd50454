"""What can go wrong, as types that carry data. HTTP statuses are in `api/problems.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class ReclmError(Exception):
    """The root of everything this service raises on purpose.

    Attributes:
        detail: One sentence for the caller: what was wrong, where, and what to do.
        data: Members to add to the problem document.
        retry_after: Seconds after which to try again, for what passes by itself.
    """

    code = "internal"
    retry_after: float | None = None

    def __init__(self, detail: str, **data: object) -> None:
        super().__init__(detail)
        self.detail = detail
        self.data = data


class InvalidInput(ReclmError):
    """The request is well-formed HTTP and JSON, and cannot be served as it stands."""

    code = "invalid-input"


class AccessRefused(ReclmError):
    """The call asks for a key, and none that is known came with it.

    Attributes:
        challenge: What to say in `WWW-Authenticate` (RFC 6750, section 3).
    """

    code = "unauthorized"

    def __init__(self, detail: str, *, challenge: str) -> None:
        super().__init__(detail)
        self.challenge = challenge


class AdminOnly(ReclmError):
    """The key is known and does not open this call."""

    code = "forbidden"


class MalformedBody(ReclmError):
    """The body is not the JSON, NDJSON or UTF-8 that it should be."""

    code = "malformed-body"


class BodyTooLarge(ReclmError):
    """The body is over the limit."""

    code = "body-too-large"


class UnsupportedMediaType(ReclmError):
    """The body's content type is not one that the call takes."""

    code = "unsupported-media-type"


class NotAcceptable(ReclmError):
    """No representation that the caller accepts can be made."""

    code = "not-acceptable"


class UnknownItems(InvalidInput):
    """A history refers to items that are not in the catalogue."""

    code = "unknown-items"
    named = 20

    def __init__(self, ids: Sequence[str], *, inline: bool = True) -> None:
        shown = list(ids[: self.named])
        super().__init__(
            f"{len(ids)} item id(s) are not in the catalogue; add them with PUT /items/{{id}} "
            f"or POST /items:batch{', or send the items inline' if inline else ''}",
            unknown=shown,
            unknown_count=len(ids),
        )


class NothingToRead(InvalidInput):
    """There is no cached profile and nothing to make one from."""

    code = "nothing-to-read"


class ProfileNotFound(ReclmError):
    """No profile is stored under this id."""

    code = "profile-not-found"


class ItemNotFound(ReclmError):
    """The catalogue has no such item."""

    code = "item-not-found"


class NoScorer(ReclmError):
    """No bundle is active, so nothing can be scored."""

    code = "no-scorer"


class ScorerNotFound(ReclmError):
    """There is no bundle of this name where the service looks for them."""

    code = "scorer-not-found"


class BundleRefused(ReclmError):
    """A bundle that is there is not to be used as it is."""

    code = "bundle-refused"


class DamagedBundle(BundleRefused):
    """A bundle's files are not what its manifest says, or do not fit together."""

    code = "damaged-bundle"


class MismatchedBundle(BundleRefused):
    """A bundle was trained on other profiles than the service makes."""

    code = "mismatched-bundle"


class NothingToRollBack(ReclmError):
    """No bundle was active before the one that is."""

    code = "nothing-to-roll-back"


class ScorersChanged(ReclmError):
    """Another bundle was activated in between."""

    code = "scorers-changed"


class Overloaded(ReclmError):
    """More is under way than the service takes on; the caller should come back."""

    code = "overloaded"
    retry_after = 1.0


class ModelUnavailable(ReclmError):
    """The model server is unreachable, refuses, fails, or does not answer in time."""

    code = "model-unavailable"
    retry_after = 5.0


class MalformedGeneration(ReclmError):
    """The model wrote something that is not a profile, each time it was asked."""

    code = "malformed-generation"
    retry_after = 5.0


class EncoderUnavailable(ReclmError):
    """The sentence encoder cannot be reached or has failed."""

    code = "encoder-unavailable"
    retry_after = 5.0


class StoreUnavailable(ReclmError):
    """Redis is unreachable or does not answer in time."""

    code = "store-unavailable"
    retry_after = 2.0
