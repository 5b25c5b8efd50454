"""The invariants, checked on every answer as it arrives.

Pure: it sees calls and faults and nothing else, so that each check is shown bad histories in
`test_checker.py`. What needs the whole run is in `model_calls.py` and `final.py`.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tests.chaos import documents
from tests.chaos.documents import ALLOWED, REFUSED, Malformed
from tests.chaos.erased import KEPT_LIVES, Erased
from tests.chaos.history import Call, Violation, Window
from tests.chaos.model_calls import Reasons
from tests.chaos.order import Order
from tests.chaos.subjects import (
    Content,
    Role,
    SentEvent,
    Subject,
    content_of_item,
    hashes_of_events,
    input_hash,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.chaos.documents import ProfileSeen

ERASED_AGAIN_S = 1.0
"""What a store that syncs every second may lose when it is killed."""

_GENERATING = frozenset({"profile", "profile by id", "score"})

ACTIVE_WITHIN_S = 3.0
"""After this time all workers score with a bundle that was activated; they are told 1 s."""


class Checker:
    """Knows what was sent and acknowledged, and so what an answer may say.

    Args:
        versions: Names of the base models that services of this run were started with.
        bundles: The scores of each bundle: by its name, by `known_by`, by item.
        traced: The words of profiles tell what they were made from: the model is scripted.
        synced: The store syncs each write before it acknowledges it.
        services: When a service of each version ran, by the name of its model; the lab adds to it.
    """

    def __init__(
        self,
        *,
        versions: frozenset[str],
        bundles: Mapping[str, documents.BundleScores],
        traced: bool,
        synced: bool,
        services: list[Window],
    ) -> None:
        self._versions = versions
        self._bundles = bundles
        self._traced = traced
        self._synced = synced
        self.subjects: dict[int, Subject] = {}
        self.windows: list[Window] = []
        """The faults of the run; the last one may last."""
        self._hashes: dict[str, Content] = {}
        self.erasures = Erased()
        self._first_sent: dict[Content, float] = {}
        self._failed: dict[int, list[float]] = {}
        self._items: dict[str, tuple[float, dict[str, str]]] = {}
        self._owners: dict[tuple[float, ...], int] = {}
        self._activations: list[Call] = []
        self.services = services
        self._order = Order(self.services)
        self.erased = 0
        self._checks: dict[str, Callable[[Call], list[Violation]]] = {
            "profile": self._check_profile,
            "profile by id": self._check_profile,
            "read": self._check_profile,
            "erase": self._check_erase,
            "event": self._check_event,
            "events": self._check_events,
            "score": self._check_score,
            "embeddings": self._check_embeddings,
            "put item": self._check_put_item,
            "get item": self._check_get_item,
            "activate": self._check_activate,
        }

    def subject(self, number: int, role: Role) -> Subject:
        """Returns a new subject."""
        self.subjects[number] = Subject(number, role)
        return self.subjects[number]

    def begin(self, call: Call) -> None:
        """Learns that a request is sent, and with what."""
        if call.content is not None and call.subject is not None:
            self.erasures.carry(call)
            self._first_sent.setdefault(call.content, call.begun)
            subject = self.subjects[call.subject]
            if call.operation == "profile":
                self._hashes[input_hash(subject.kind, (call.content,))] = call.content
            if call.operation == "event":
                sent = subject.events.setdefault(call.life, [])
                if call.content.part == len(sent):
                    sent.append(SentEvent(call.body["item_id"]))
                self._hashes.update(hashes_of_events(subject, call.life))
        if call.operation == "erase" and call.subject is not None:
            self.erasures.begin(call)
        if call.operation == "activate":
            self._activations.append(call)

    def end(self, call: Call) -> list[Violation]:
        """Checks an answer, and learns from it what has been acknowledged."""
        if call.operation == "erase" and call.subject is not None:
            self._forget(call)
        if call.status is None or call.status >= 500:
            self._fail(call)
        if call.status is None:
            return []
        damaging = self._damaging(call)
        try:
            if call.damaged:
                raise Malformed("the answer is not HTTP or JSON")
            if call.status not in ALLOWED[call.operation]:
                if call.status in REFUSED and damaging:
                    return []
                raise Malformed(f"status {call.status} is none that `{call.operation}` has")
            if call.status >= 400:
                documents.check_problem(call)
                if (
                    call.status == 409
                    and call.subject is not None
                    and not self.erasures.beside(call)
                ):
                    raise Malformed("409, and nobody was erased meanwhile")
                return self._lost_item(call)
            return self._checks[call.operation](call)
        except Malformed as error:
            return [] if damaging else [_wrong(call, str(error))]

    def _fail(self, call: Call) -> None:
        """Learns that a request failed, after which a profile may be generated again."""
        if call.operation in _GENERATING:
            assert call.subject is not None
            assert call.ended is not None
            self._failed.setdefault(call.subject, []).append(call.ended)

    def _forget(self, call: Call) -> None:
        """Learns what an erasure may have taken, and drops what no later answer can show."""
        assert call.subject is not None
        subject = self.subjects[call.subject]
        if call.status != 204:
            # It may still be carried out, and then takes what was sent since.
            subject.uncertain.update((call.life, subject.life, subject.life + 1))
        for life in [life for life in subject.events if life < subject.life - KEPT_LIVES]:
            del subject.events[life]

    def crashed(self, at: float) -> None:
        """Learns that the store was killed: without syncs, the last second's writes are doubtful."""
        if self._synced:
            return
        since = at - ERASED_AGAIN_S
        for subject in self.subjects.values():
            for life, events in subject.events.items():
                late = [e for e in events if e.accepted is not None and e.accepted >= since]
                for event in late:
                    event.doubtful = True
                if late:
                    self._hashes.update(hashes_of_events(subject, life))
        self.erasures.undone_since(since)
        self._order.forget()
        self._items = {id_: one for id_, one in self._items.items() if one[0] < since}

    # Each of the following checks a successful answer of one operation.

    def _check_profile(self, call: Call) -> list[Violation]:
        seen = documents.profile(call.answer)
        return self._check_seen(call, seen)

    def _check_seen(self, call: Call, seen: ProfileSeen) -> list[Violation]:
        assert call.subject is not None
        subject = self.subjects[call.subject]
        if (seen.kind, seen.id) != (subject.kind, subject.id):
            return [_wrong(call, f"the profile of {seen.kind} {seen.id}, not of {subject.id}")]
        if seen.model not in self._versions:
            return [_wrong(call, f"version {seen.model!r}, which no service of this run has")]
        if seen.status == "degraded" and not seen.input_hash.strip("0"):
            return self._of_nothing_read(call, seen)
        content = self._hashes.get(seen.input_hash)
        if content is None:
            return [_wrong(call, f"made from {seen.input_hash}, which nobody sent")]
        if content.subject != call.subject:
            return [_wrong(call, f"made from what {content} sent, not from {subject.id}'s")]
        found = []
        if self._traced and seen.status != "degraded":
            found += _of_words(call, seen, content)
        found += self._of_status(call, seen, content)
        if self.erasures.shows(call, content, seen.written_at if self._traced else None):
            found.append(_wrong(call, f"{content} was erased before it was asked for", "erased"))
        elif (back := self._order.goes_back(call, seen)) is not None:
            found.append(_wrong(call, f"a stored profile that is {back}"))
        if seen.vector is not None:
            self._owners[seen.vector] = call.subject
        return found

    def _of_nothing_read(self, call: Call, seen: ProfileSeen) -> list[Violation]:
        """Checks a profile that no model wrote: it is nobody's, and never stored."""
        if call.operation == "read":
            return [_wrong(call, "a read gave a degraded profile")]
        if seen.written_of is not None:
            return [_wrong(call, f"degraded, but in the model's words about {seen.written_of}")]
        return []

    def _of_status(self, call: Call, seen: ProfileSeen, content: Content) -> list[Violation]:
        if call.operation == "read" and seen.status not in {"cached", "stale"}:
            return [_wrong(call, f"a read gave a {seen.status} profile")]
        if seen.status == "stale" or call.ended is None:
            return []
        if call.operation == "profile" and content != call.content:
            return [_wrong(call, f"{seen.status}, but made from {content}, not {call.content}")]
        if not any(
            service.fault == seen.model and service.touches(call.begun, call.ended)
            for service in self.services
        ):
            return [_wrong(call, f"{seen.status}, of version {seen.model}, which nobody serves")]
        return []

    def _check_erase(self, call: Call) -> list[Violation]:
        assert call.subject is not None
        self.erasures.end(call)
        self.erased += 1
        return []

    def _check_event(self, call: Call) -> list[Violation]:
        assert call.subject is not None
        assert call.content is not None
        if not documents.accepted(call):
            # By the store's clock, which a fault may have stepped when the erasure came.
            if self.erasures.beside(call) or self.erasures.stepped(call.subject, self.windows):
                return []
            return [_wrong(call, "an event of this life was left out as one of before", "lost")]
        event = self.subjects[call.subject].events[call.life][call.content.part]
        event.accepted = call.ended
        return []

    def _check_events(self, call: Call) -> list[Violation]:
        assert call.subject is not None
        subject = self.subjects[call.subject]
        shown = documents.events(call, subject.id)
        found = []
        for item_id in shown:
            content = content_of_item(item_id)
            if content is None or content.subject != call.subject:
                found.append(_wrong(call, f"{item_id} is no event of {subject.id}"))
            elif self.erasures.shows(call, content, None):
                found.append(_wrong(call, f"event {content} was erased", "erased"))
        return found + self.lost_events(call, frozenset(shown))

    def lost_events(self, call: Call, shown: frozenset[str]) -> list[Violation]:
        """Returns the events that a list of a subject's events should have, and does not."""
        assert call.subject is not None
        subject = self.subjects[call.subject]
        if subject.life != call.life or subject.erasing or call.life in subject.uncertain:
            return []
        return [
            Violation("lost", f"{event.item_id} was accepted", call.subject, call.number)
            for event in subject.events.get(call.life, [])
            if event.accepted is not None
            and event.accepted < call.begun
            and not event.doubtful
            and event.item_id not in shown
        ]

    def _check_score(self, call: Call) -> list[Violation]:
        assert call.subject is not None
        subject = self.subjects[call.subject]
        score = documents.score(call, subject.id, self._bundles)
        found = []
        if score.known_by == "training" and self.erasures.any_before(call.subject, call):
            found.append(_wrong(call, "the bundle still knows an erased user", "erased"))
        if (due := self._active(call)) is not None and score.scorer != due:
            found.append(_wrong(call, f"scored by {score.scorer}; {due} is active"))
        if score.profile is not None:
            found += self._check_seen(call, score.profile)
        return found

    def _active(self, call: Call) -> str | None:
        """Returns the bundle that every worker has to use; None while that is not sure."""
        if not self._activations:
            return None
        last = self._activations[-1]
        unsure = len(self._activations) > 1 and self._activations[-2].status != 200
        if last.status != 200 or last.ended is None or unsure:
            return None
        if call.begun < last.ended + ACTIVE_WITHIN_S or self._disturbed(last.begun, call.begun):
            return None
        return str(last.body)

    def _check_embeddings(self, call: Call) -> list[Violation]:
        found = []
        numbers = call.body
        rows = documents.embeddings(call, [self.subjects[number].id for number in numbers])
        for number, vector in zip(numbers, rows, strict=True):
            if vector is None:
                continue
            owner = self._owners.get(vector, number)
            if owner != number:
                found.append(_wrong(call, f"the vector of {owner} under the id of {number}"))
            if self.erasures.leaves_nothing(call, number):
                what = f"subject {number} has a vector after its erasure"
                found.append(Violation("erased", what, number, call.number))
        return found

    def _check_put_item(self, call: Call) -> list[Violation]:
        assert call.ended is not None
        documents.check_item(call, call.body)
        self._items[call.body["id"]] = (call.ended, call.body)
        return []

    def _check_get_item(self, call: Call) -> list[Violation]:
        documents.check_item(call, self._items.get(call.body["id"], (0.0, None))[1])
        return []

    def _lost_item(self, call: Call) -> list[Violation]:
        """Checks a 404 for an item of the catalogue."""
        if call.operation != "get item" or call.status != 404:
            return []
        known = self._items.get(call.body["id"])
        if known is None or known[0] >= call.begun:
            return []
        what = f"item {call.body['id']} was stored"
        return [Violation("lost", what, call.subject, call.number)]

    def _check_activate(self, call: Call) -> list[Violation]:
        if not isinstance(call.answer, dict) or call.answer.get("active") != call.body:
            return [_wrong(call, f"{call.body} was to be activated")]
        return []

    def reasons(self) -> Reasons:
        """Returns what explains that the model was asked again."""
        return Reasons(self.windows, self.erasures.tried, self._first_sent, self._failed)

    def content_of(self, digest: str) -> Content | None:
        """Returns what has this input hash; None for what nobody sent."""
        return self._hashes.get(digest)

    def stored_items(self) -> list[str]:
        """Returns the ids of items whose storing was acknowledged."""
        return list(self._items)

    def _damaging(self, call: Call) -> bool:
        """Returns whether the way between caller and service damages what it carries."""
        return any(
            window.touches(call.begun, call.ended or time.monotonic())
            for window in self.windows
            if window.fault == "client-garbled"
        )

    def _disturbed(self, begun: float, ended: float) -> bool:
        return any(window.touches(begun, ended, after_s=5.0) for window in self.windows)


def _of_words(call: Call, seen: ProfileSeen, content: Content) -> list[Violation]:
    """Returns whether a profile's words are those that the model wrote for its input."""
    if seen.written_by != seen.model:
        return [_wrong(call, f"words of {seen.written_by} under the version of {seen.model}")]
    if seen.written_of != content:
        return [_wrong(call, f"words of {seen.written_of} under the input of {content}")]
    if seen.written_at is None or (call.ended is not None and seen.written_at > call.ended):
        return [_wrong(call, "words that say no time at which they were written")]
    return []


def _wrong(call: Call, what: str, invariant: str = "wrong") -> Violation:
    return Violation(invariant, what, call.subject, call.number)
