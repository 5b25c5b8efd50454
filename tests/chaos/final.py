"""What has to be true when all faults are over and nothing is asked any more."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.chaos.history import Violation

if TYPE_CHECKING:
    from tests.chaos.checker import Checker
    from tests.chaos.load import Load
    from tests.chaos.sender import Sender
    from tests.chaos.subjects import Subject

WITHIN_S = 120.0
"""Refreshes that failed are tried again after pauses that double."""

_PAUSE_S = 0.5


async def settle(load: Load, sender: Sender, checker: Checker) -> list[Violation]:
    """Looks at everybody once more, and waits until the last refreshes are done.

    Returns:
        What is missing: answers, events, and profiles that no refresh has made. What is wrong with
        an answer goes to the checker as ever.
    """
    everybody = [subject for subjects in load.of.values() for subject in subjects]
    await asyncio.gather(*(load.look_at(subject) for subject in everybody))
    found = []
    for subject in load.of["clicker"]:
        call = await sender.events(subject)
        if call.status != 200:
            what = f"the events of {subject.id} cannot be read: {call.status} {call.why}"
            found.append(Violation("lost", what, subject.number, call.number))
    waiting = [subject for subject in load.of["clicker"] if _newest(subject) is not None]
    until = asyncio.get_running_loop().time() + WITHIN_S
    while waiting and asyncio.get_running_loop().time() < until:
        waiting = [one for one in waiting if not await _is_refreshed(one, sender, checker)]
        await asyncio.sleep(_PAUSE_S if waiting else 0)
    for subject in waiting:
        what = f"no refresh made the profile of {subject.id} from {_newest(subject)}"
        found.append(Violation("lost", what, subject.number, None))
    return found


async def _is_refreshed(subject: Subject, sender: Sender, checker: Checker) -> bool:
    call = await sender.read(subject)
    if call.status != 200 or not isinstance(call.answer, dict):
        return False
    content = checker.content_of(str(call.answer.get("input_hash")))
    return content is not None and (content.life, content.part) == (
        subject.life,
        _newest(subject),
    )


def _newest(subject: Subject) -> int | None:
    """Returns the number of the newest event that has to be in the profile; None for none."""
    if subject.life in subject.uncertain:
        return None
    accepted = [
        part
        for part, event in enumerate(subject.events.get(subject.life, ()))
        if event.accepted is not None and not event.doubtful
    ]
    return max(accepted, default=None)
