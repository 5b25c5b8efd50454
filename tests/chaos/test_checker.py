"""Each invariant's check is shown a history that breaks it, and one beside it that does not."""

from __future__ import annotations

from typing import Any

import pytest

from tests.chaos.history import Violation, Window
from tests.chaos.subjects import Content, Subject
from tests.chaos.told import MODEL, OTHER, Told, profile


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def ann(told: Told) -> Subject:
    return told.checker.subject(1, "reader")


@pytest.fixture
def bob(told: Told) -> Subject:
    return told.checker.subject(2, "reader")


@pytest.fixture
def eve(told: Told) -> Subject:
    return told.checker.subject(3, "clicker")


def names(violations: list[Violation]) -> list[str]:
    return [violation.invariant for violation in violations]


def asked(told: Told, subject: Subject, content: Content, at: float, **document: Any) -> list[str]:
    """Asks with a history, and returns what is wrong with the answer."""
    call = told.begin("profile", subject, at, content=content)
    answer = profile(subject, content, written_at=at, **document)
    return names(told.end(call, at + 1, 200, answer))


def read(told: Told, subject: Subject, at: float, answer: dict[str, Any]) -> list[str]:
    call = told.begin("read", subject, at)
    return names(told.end(call, at + 0.1, 200, answer))


def test_a_profile_of_ones_own(told: Told, ann: Subject) -> None:
    assert asked(told, ann, Content(1, 0, 0), 1, status="generated") == []
    assert read(told, ann, 3, profile(ann, Content(1, 0, 0), written_at=1)) == []


def test_a_profile_under_anothers_id(told: Told, ann: Subject, bob: Subject) -> None:
    assert asked(told, ann, Content(1, 0, 0), 1, id=bob.id) == ["wrong"]


def test_anothers_profile_under_ones_own_id(told: Told, ann: Subject, bob: Subject) -> None:
    assert asked(told, bob, Content(2, 0, 0), 1) == []
    stolen = profile(bob, Content(2, 0, 0), written_at=1, id=ann.id)
    assert read(told, ann, 3, stolen) == ["wrong"]


def test_anothers_words_under_ones_own_input(told: Told, ann: Subject, bob: Subject) -> None:
    assert asked(told, bob, Content(2, 0, 0), 1) == []
    assert asked(told, ann, Content(1, 0, 0), 2) == []
    mixed = profile(ann, Content(2, 0, 0), written_at=2, inputs=(Content(1, 0, 0),))
    assert read(told, ann, 4, mixed) == ["wrong"]


def test_a_profile_made_from_what_nobody_sent(told: Told, ann: Subject) -> None:
    assert read(told, ann, 1, profile(ann, Content(1, 0, 7), written_at=1)) == ["wrong"]


def test_a_degraded_profile_says_nothing_that_a_model_wrote(told: Told, ann: Subject) -> None:
    content = Content(1, 0, 0)
    plain: dict[str, Any] = {
        **profile(ann, content, written_at=1, status="degraded"),
        "input_hash": "0" * 32,
    }
    call = told.begin("profile", ann, 1, content=content)
    assert names(told.end(call, 2, 200, plain)) == ["wrong"], "the words are the model's"
    identities = ["interested in Crime", "occasional chooser", "new visitor"]
    interests = ["Crime", "varied choices", "popular titles"]
    text = f"User identity: {', '.join(identities)}; User interests: {', '.join(interests)}."
    plain |= {"identities": identities, "interests": interests, "text": text}
    call = told.begin("profile", ann, 3, content=content)
    assert names(told.end(call, 4, 200, plain)) == []
    assert read(told, ann, 5, plain) == ["wrong"]


def test_an_earlier_edition_is_stale_and_not_current(told: Told, ann: Subject) -> None:
    first, second = Content(1, 0, 0), Content(1, 0, 1)
    assert asked(told, ann, first, 1) == []
    for status, expected in (("stale", []), ("cached", ["wrong"]), ("generated", ["wrong"])):
        call = told.begin("profile", ann, 3, content=second)
        answer = profile(ann, first, written_at=1, status=status)
        assert names(told.end(call, 4, 200, answer)) == expected


def test_a_read_never_generates(told: Told, ann: Subject) -> None:
    assert asked(told, ann, Content(1, 0, 0), 1) == []
    answer = profile(ann, Content(1, 0, 0), written_at=1, status="generated")
    assert read(told, ann, 3, answer) == ["wrong"]


def test_words_of_another_version(told: Told, ann: Subject) -> None:
    assert asked(told, ann, Content(1, 0, 0), 1, words_by=OTHER) == ["wrong"]


def test_a_version_that_nobody_serves_is_stale_at_best(told: Told, ann: Subject) -> None:
    both: dict[str, Any] = {"model": OTHER, "words_by": OTHER}
    assert asked(told, ann, Content(1, 0, 0), 1, **both) == ["wrong"]
    assert asked(told, ann, Content(1, 0, 0), 3, status="stale", **both) == []
    told.checker.services.append(Window(OTHER, 5.0))
    assert asked(told, ann, Content(1, 0, 0), 6, **both) == []
    unknown = {"model": "somebody", "words_by": "somebody", "status": "stale"}
    assert asked(told, ann, Content(1, 0, 0), 8, **unknown) == ["wrong"]


@pytest.mark.parametrize(
    "changed",
    [
        {"text": "User identity: a, b, c; User interests: x, y, z."},
        {"identities": ["film lover", "night owl"]},
        {"interests": ["film lover", "film lover", "night owl"]},
        {"identities": ["\ufffd\ufffd", "night owl", "old friend"]},
        {"status": "fresh"},
        {"version": None},
    ],
)
def test_a_malformed_profile(told: Told, ann: Subject, changed: dict[str, Any]) -> None:
    assert asked(told, ann, Content(1, 0, 0), 1, **changed) == ["wrong"]


def test_a_profile_written_before_the_erasure_comes_back(told: Told, ann: Subject) -> None:
    content = Content(1, 0, 0)
    racing = told.begin("profile", ann, 1, content=content)
    told.erase(ann, 2, 2.1)
    written = profile(ann, content, written_at=1.5, status="generated")
    # The one who asked before may have the answer. Nobody who asks later may.
    assert names(told.end(racing, 3, 200, written)) == []
    assert read(told, ann, 4, {**written, "status": "cached"}) == ["erased"]


def test_a_request_beside_the_erasure_may_have_come_after_it(told: Told, ann: Subject) -> None:
    content = Content(1, 0, 0)
    racing = told.begin("profile", ann, 2.05, content=content)
    told.erase(ann, 2, 2.1)
    written = profile(ann, content, written_at=2.2, status="generated")
    assert names(told.end(racing, 3, 200, written)) == []
    assert read(told, ann, 4, {**written, "status": "cached"}) == []
    # The next erasure had no such request beside it.
    told.erase(ann, 5, 5.1)
    assert read(told, ann, 6, {**written, "status": "stale"}) == ["erased"]


def test_a_profile_generated_after_the_erasure_from_what_was_before(
    told: Told, ann: Subject
) -> None:
    assert asked(told, ann, Content(1, 0, 0), 1) == []
    told.erase(ann, 3, 3.1)
    late = profile(ann, Content(1, 0, 0), written_at=3.5)
    assert read(told, ann, 5, late) == ["erased"]


def test_without_words_an_erased_profile_is_known_by_its_input(ann: Subject) -> None:
    told = Told(traced=False)
    ann = told.checker.subject(1, "reader")
    assert asked(told, ann, Content(1, 0, 0), 1) == []
    told.erase(ann, 3, 3.1)
    assert read(told, ann, 5, profile(ann, Content(1, 0, 0), written_at=1)) == ["erased"]


def test_a_new_life_is_not_an_erased_one(told: Told, ann: Subject) -> None:
    told.erase(ann, 1, 1.1)
    assert asked(told, ann, Content(1, 1, 0), 2, status="generated") == []


def test_an_erasure_without_an_answer_proves_nothing(told: Told, ann: Subject) -> None:
    assert asked(told, ann, Content(1, 0, 0), 1) == []
    told.erase(ann, 3, 3.1, status=None)
    assert read(told, ann, 5, profile(ann, Content(1, 0, 0), written_at=1)) == []


def test_a_request_is_told_of_an_erasure_beside_it_and_of_no_other(
    told: Told, ann: Subject, bob: Subject
) -> None:
    problem = {"status": 409, "code": "erased"}
    calls = [
        told.begin("profile", subject, 1, content=Content(subject.number, 0, 0))
        for subject in (ann, bob)
    ]
    told.erase(ann, 2, 2.1)
    found = [
        names(told.end(call, 3, 409, problem, content_type="application/problem+json"))
        for call in calls
    ]
    assert found == [[], ["wrong"]]


def test_a_stored_profile_is_never_replaced_by_an_older_one(told: Told, ann: Subject) -> None:
    content = Content(1, 0, 0)
    assert asked(told, ann, content, 1) == []
    newer, older = (profile(ann, content, written_at=at) for at in (3.0, 2.0))
    early = told.begin("read", ann, 4)
    assert read(told, ann, 5, newer) == []
    # Who asked before that may have been answered before that.
    assert names(told.end(early, 6, 200, older)) == []
    assert read(told, ann, 7, older) == ["wrong"]


def test_a_newer_version_is_never_replaced_by_an_older_one(told: Told, ann: Subject) -> None:
    content = Content(1, 0, 0)
    assert asked(told, ann, content, 1) == []
    told.checker.services.append(Window(OTHER, 5.0))
    both: dict[str, Any] = {"model": OTHER, "words_by": OTHER}
    assert read(told, ann, 6, profile(ann, content, written_at=6, **both)) == []
    assert read(told, ann, 8, profile(ann, content, written_at=7)) == ["wrong"]


def test_a_version_that_is_served_again_is_the_newest(told: Told, ann: Subject) -> None:
    content = Content(1, 0, 0)
    assert asked(told, ann, content, 1) == []
    both: dict[str, Any] = {"model": OTHER, "words_by": OTHER}
    told.checker.services += [Window(OTHER, 5.0), Window(MODEL, 7.0)]
    # What the first run of the version wrote is no newer for that the version runs again.
    assert read(told, ann, 8, profile(ann, content, written_at=1, status="stale")) == []
    assert read(told, ann, 9, profile(ann, content, written_at=6, **both)) == []
    assert read(told, ann, 10, profile(ann, content, written_at=9.5)) == []
    assert read(told, ann, 12, profile(ann, content, written_at=11, **both)) == ["wrong"]


@pytest.mark.parametrize(("fault", "expected"), [("redis-clock", []), ("service-clock", ["lost"])])
def test_an_event_is_left_out_only_where_the_store_had_a_wrong_clock(
    told: Told, eve: Subject, fault: str, expected: list[str]
) -> None:
    told.checker.windows.append(Window(fault, 0, 3))
    told.erase(eve, 1, 1.1)
    content = Content(3, 1, 0)
    call = told.begin("event", eve, 5, content=content, body={"item_id": "record-3-1-0"})
    assert names(told.end(call, 6, 202, {"events": 0, "users": 0})) == expected


def test_events_of_an_erased_life(told: Told, eve: Subject) -> None:
    old = Content(3, 0, 0)
    told.event(eve, 0, 1)
    assert told.events(eve, old, at=2) == []
    told.erase(eve, 3, 3.1)
    assert names(told.events(eve, old, at=4)) == ["erased"]


def test_an_event_without_an_answer_may_come_after_the_erasure(told: Told, eve: Subject) -> None:
    told.event(eve, 0, 1, status=None)
    told.erase(eve, 3, 3.1)
    assert told.events(eve, Content(3, 0, 0), at=4) == []


def test_an_accepted_event_is_missing(told: Told, eve: Subject) -> None:
    told.event(eve, 0, 1)
    told.event(eve, 1, 2)
    told.event(eve, 2, 3, status=None)
    assert told.events(eve, Content(3, 0, 0), Content(3, 0, 1), at=4) == []
    (lost,) = told.events(eve, Content(3, 0, 0), at=5)
    assert (lost.invariant, lost.what) == ("lost", "record-3-0-1 was accepted")


def test_an_event_is_not_missing_before_it_was_accepted(told: Told, eve: Subject) -> None:
    reading = told.begin("events", eve, 0.5)
    told.event(eve, 0, 1)
    assert told.end(reading, 2, 200, {"user_id": eve.id, "events": []}) == []


def test_anothers_event(told: Told, eve: Subject) -> None:
    assert names(told.events(eve, Content(9, 0, 0), at=1)) == ["wrong"]


@pytest.mark.parametrize(("synced", "expected"), [(True, ["lost"]), (False, [])])
def test_what_a_crash_may_take(synced: bool, expected: list[str]) -> None:
    told = Told(synced=synced)
    eve = told.checker.subject(3, "clicker")
    told.event(eve, 0, 1)
    told.event(eve, 1, 9.5)
    told.checker.crashed(10.0)
    assert names(told.events(eve, Content(3, 0, 0), at=12)) == expected
    assert names(told.events(eve, Content(3, 0, 1), at=13)) == ["lost"]


def test_a_history_with_a_hole_is_right_only_if_a_crash_may_have_made_it() -> None:
    first, third = Content(3, 0, 0), Content(3, 0, 2)
    for synced, expected in ((True, ["wrong"]), (False, [])):
        told = Told(synced=synced)
        eve = told.checker.subject(3, "clicker")
        for part, at in enumerate((1.0, 9.5, 12.0)):
            if part == 2:
                told.checker.crashed(10.0)
            told.event(eve, part, at)
        made = profile(eve, third, written_at=13, inputs=(first, third))
        assert read(told, eve, 14, made) == expected


def test_an_erasure_that_a_crash_may_have_undone() -> None:
    for synced, expected in ((True, ["erased"]), (False, [])):
        told = Told(synced=synced)
        ann = told.checker.subject(1, "reader")
        assert asked(told, ann, Content(1, 0, 0), 1) == []
        told.erase(ann, 9.5, 9.6)
        told.checker.crashed(10.0)
        assert read(told, ann, 12, profile(ann, Content(1, 0, 0), written_at=1)) == expected


def score(subject: Subject, scorer: str, known_by: str, **scores: float) -> dict[str, Any]:
    items = [{"item_id": item, "score": value, "reasons": None} for item, value in scores.items()]
    return {
        "scorer": scorer,
        "user_id": subject.id,
        "known_by": known_by,
        "profile": None,
        "ignored": [],
        "items": items,
    }


def scored(told: Told, subject: Subject, at: float, answer: dict[str, Any]) -> list[str]:
    return names(told.end(told.begin("score", subject, at), at + 0.1, 200, answer))


def test_scores_are_those_of_the_bundle_that_is_named(told: Told, ann: Subject) -> None:
    assert scored(told, ann, 1, score(ann, "first", "nothing", d=100.25, a=100)) == []
    assert scored(told, ann, 2, score(ann, "first", "nothing", d=200.25)) == ["wrong"]
    assert scored(told, ann, 3, score(ann, "third", "nothing", d=100.25)) == ["wrong"]
    assert scored(told, ann, 4, score(ann, "first", "nothing", z=100.25)) == ["wrong"]


def test_a_bundle_forgets_an_erased_user(told: Told, ann: Subject) -> None:
    assert scored(told, ann, 1, score(ann, "first", "training", b=102)) == []
    told.erase(ann, 2, 2.1)
    assert scored(told, ann, 3, score(ann, "first", "training", b=102)) == ["erased"]
    assert scored(told, ann, 4, score(ann, "first", "nothing", d=100.25)) == []


def test_after_an_activation_all_score_with_it(told: Told, ann: Subject) -> None:
    for at, name in ((1.0, "first"), (10.0, "second")):
        call = told.begin("activate", None, at, body=name)
        assert told.end(call, at + 0.1, 200, {"active": name, "previous": None}) == []
    old = score(ann, "first", "nothing", d=100.25)
    assert scored(told, ann, 11, old) == []
    assert scored(told, ann, 14, old) == ["wrong"]
    told.checker.windows.append(Window("worker-stalled", 11, 12))
    assert scored(told, ann, 14, old) == []


def test_another_activation_than_was_asked_for(told: Told) -> None:
    call = told.begin("activate", None, 1, body="first")
    assert names(told.end(call, 2, 200, {"active": "second", "previous": None})) == ["wrong"]


def vectors(told: Told, at: float, *rows: tuple[Subject, list[float] | None]) -> list[str]:
    body = [subject.number for subject, _ in rows]
    answer = {
        "dimension": 2,
        "rows": [
            {"id": subject.id, "vector": vector, "version": None if vector is None else "00"}
            for subject, vector in rows
        ],
    }
    return names(told.end(told.begin("embeddings", None, at, body=body), at + 0.1, 200, answer))


def test_anothers_vector(told: Told, ann: Subject, bob: Subject) -> None:
    assert asked(told, ann, Content(1, 0, 0), 1, embedding=[0.5, 0.25]) == []
    assert vectors(told, 3, (ann, [0.5, 0.25]), (bob, [0.25, 0.5])) == []
    assert vectors(told, 4, (ann, None), (bob, [0.5, 0.25])) == ["wrong"]


def test_the_vector_of_an_erased_user(told: Told, ann: Subject) -> None:
    assert asked(told, ann, Content(1, 0, 0), 1) == []
    told.erase(ann, 3, 3.1)
    assert vectors(told, 4, (ann, [0.5, 0.25])) == ["erased"]
    assert vectors(told, 5, (ann, None)) == []
    told.begin("profile", ann, 6, content=Content(1, 1, 0))
    assert vectors(told, 7, (ann, [0.5, 0.25])) == []


ITEM = {"id": "record-3-0-0", "title": "t", "category": "c"}


def test_a_stored_item_is_missing_or_another(told: Told, eve: Subject) -> None:
    assert told.end(told.begin("put item", eve, 1, body=ITEM), 2, 200, ITEM) == []
    missing = {"status": 404, "code": "item-not-found"}
    problem = {"content_type": "application/problem+json"}
    for answer, status, expected in (
        (ITEM, 200, []),
        ({**ITEM, "title": "u"}, 200, ["wrong"]),
        (missing, 404, ["lost"]),
    ):
        call = told.begin("get item", eve, 3, body=ITEM)
        headers = problem if status == 404 else {}
        assert names(told.end(call, 4, status, answer, **headers)) == expected


@pytest.mark.parametrize(
    ("status", "answer", "headers", "expected"),
    [
        (503, {"status": 503, "code": "model-unavailable"}, {"retry_after": "5"}, []),
        (503, {"status": 503, "code": "model-unavailable"}, {}, ["wrong"]),
        (503, {"status": 503, "code": "overloaded"}, {"retry_after": "86400"}, ["wrong"]),
        (503, {"status": 500, "code": "overloaded"}, {"retry_after": "1"}, ["wrong"]),
        (503, "down", {"retry_after": "1"}, ["wrong"]),
        (500, {"status": 500, "code": "internal"}, {}, ["wrong"]),
        (404, {"status": 404, "code": "not-found"}, {}, ["wrong"]),
    ],
)
def test_problems(status: int, answer: Any, headers: dict[str, str], expected: list[str]) -> None:
    told = Told()
    ann = told.checker.subject(1, "reader")
    call = told.begin("profile", ann, 1, content=Content(1, 0, 0))
    kind = {"content_type": "application/problem+json"}
    assert names(told.end(call, 2, status, answer, **kind, **headers)) == expected


def test_a_problem_of_another_content_type(told: Told, ann: Subject) -> None:
    call = told.begin("read", ann, 1)
    problem = {"status": 404, "code": "profile-not-found"}
    assert names(told.end(call, 2, 404, problem, content_type="application/json")) == ["wrong"]


def test_damage_is_excused_only_where_the_way_damages(told: Told, ann: Subject) -> None:
    for at, expected in ((1.0, ["wrong"]), (11.0, [])):
        call = told.begin("read", ann, at)
        call.damaged = True
        assert names(told.end(call, at + 1, 200)) == expected
        call = told.begin("read", ann, at)
        assert names(told.end(call, at + 1, 400)) == expected
        told.checker.windows.append(Window("client-garbled", 10))


def test_the_way_to_the_service_excuses_nothing_that_is_stored(told: Told, ann: Subject) -> None:
    told.checker.windows.append(Window("client-garbled", 0))
    assert read(told, ann, 1, profile(ann, Content(1, 0, 7), written_at=1)) == ["wrong"]
    assert told.checker.services[0].fault == MODEL
