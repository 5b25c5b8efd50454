"""The errors of the service, with their data. HTTP statuses are in `api/problems.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class ReclmError(Exception):
    """The base of all errors that this service raises on purpose.

    Attributes:
        detail: One sentence for the caller: what was wrong, where, and what to do.
        data: Further members of the problem document.
        retry_after: Seconds after which to try again; None if that does not help.
    """

    code = "internal"
    retry_after: float | None = None

    def __init__(self, detail: str, **data: object) -> None:
        super().__init__(detail)
        self.detail = detail
        self.data = data


class InvalidInput(ReclmError):
    """The request is well-formed HTTP and JSON, but cannot be served."""

    code = "invalid-input"


class AccessRefused(ReclmError):
    """The call needs a key, and came without a known one.

    Attributes:
        challenge: The value of `WWW-Authenticate` (RFC 6750, section 3).
    """

    code = "unauthorized"

    def __init__(self, detail: str, *, challenge: str) -> None:
        super().__init__(detail)
        self.challenge = challenge


class AdminOnly(ReclmError):
    """The key is known, but this call needs an admin key."""

    code = "forbidden"


class MalformedBody(ReclmError):
    """The body is not valid JSON, NDJSON or UTF-8."""

    code = "malformed-body"


class MalformedRequest(ReclmError):
    """What came over a connection is not HTTP."""

    code = "malformed-request"


class RequestTimeout(ReclmError):
    """A request did not arrive completely within its time."""

    code = "request-timeout"


class BodyTooLarge(ReclmError):
    """The body is over the limit."""

    code = "body-too-large"


class HeadersTooLarge(ReclmError):
    """The request line and the headers are over the limit."""

    code = "headers-too-large"


class UnsupportedMediaType(ReclmError):
    """The call does not take the body's content type or content coding."""

    code = "unsupported-media-type"


class NotAcceptable(ReclmError):
    """The caller accepts none of the representations."""

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


class ProfileErased(ReclmError):
    """The profile was erased while the request was under way."""

    code = "erased"

    def __init__(self) -> None:
        super().__init__(
            "the profile was erased while this request was under way, and nothing of it was kept; "
            "send the request again if a new profile is wanted"
        )


class ProfileNotFound(ReclmError):
    """No profile is stored under this id."""

    code = "profile-not-found"


class ItemNotFound(ReclmError):
    """The catalogue has no such item."""

    code = "item-not-found"


class ItemWithdrawn(ReclmError):
    """The item was removed from the catalogue, is hidden, or has expired."""

    code = "item-withdrawn"


class NoScorer(ReclmError):
    """No bundle is active, so nothing can be scored."""

    code = "no-scorer"


class ScorerNotFound(ReclmError):
    """The folder of bundles has none of this name."""

    code = "scorer-not-found"


class BundleRefused(ReclmError):
    """A bundle exists but cannot be used."""

    code = "bundle-refused"


class DamagedBundle(BundleRefused):
    """A bundle's files do not match its manifest, or each other."""

    code = "damaged-bundle"


class MismatchedBundle(BundleRefused):
    """A bundle was trained on profiles of another version than the service's."""

    code = "mismatched-bundle"


class OtherContent(BundleRefused):
    """A host has another content under a bundle's name than the one that is meant."""

    code = "other-content"


class NothingToRollBack(ReclmError):
    """No bundle was active before the active one."""

    code = "nothing-to-roll-back"


class ScorersChanged(ReclmError):
    """Another bundle was activated meanwhile."""

    code = "scorers-changed"


class CallerGone(ReclmError):
    """The caller closed the connection before there was an answer: nobody will read this one."""

    code = "caller-gone"


class Overloaded(ReclmError):
    """The service is at its limit; the caller should try again later."""

    code = "overloaded"
    retry_after = 1.0


class ModelUnavailable(ReclmError):
    """The model server cannot be reached, fails, or does not answer in time."""

    code = "model-unavailable"
    retry_after: float | None = 5.0


class ModelTooSlow(ModelUnavailable):
    """A prompt was not answered in time."""


class ModelRefused(ModelUnavailable):
    """The model server refuses the prompt: a later attempt would be refused too."""

    code = "model-refused"
    retry_after = None


class MalformedGeneration(ReclmError):
    """None of the model's answers was a profile."""

    code = "malformed-generation"
    retry_after = 5.0


class EncoderUnavailable(ReclmError):
    """The sentence encoder cannot be reached, or failed."""

    code = "encoder-unavailable"
    retry_after: float | None = 5.0


class EncoderRefused(EncoderUnavailable):
    """The encoder refuses the texts: a later attempt would be refused too."""

    code = "encoder-refused"
    retry_after = None


class StoreUnavailable(ReclmError):
    """The store cannot be reached, or does not answer in time."""

    code = "store-unavailable"
    retry_after = 2.0


class WritesFail(StoreUnavailable):
    """The store answers, but does not keep what it is given; what it has can still be read."""


class NotReplicated(WritesFail):
    """Replicas were to confirm a write, and did not: it may be kept, or undone by a failover."""
