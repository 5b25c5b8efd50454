"""Asks a teacher for many profiles, a bounded number at a time, and keeps each as it comes."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from training.data.errors import InstructionDataError
from training.data.teacher.answers import TeacherAnswer
from training.data.teacher.endpoint import Endpoint, Teacher

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from training.data.prompts import Prompt
    from training.data.teacher.endpoint import Reply
    from training.data.teacher.estimate import Prices
    from training.data.teacher.journal import Journal

GIVE_UP = 20
"""Profiles in a row that fail before a run ends: the server, not the profile, is the reason."""


@dataclass(slots=True)
class Outcome:
    """What a run did.

    Attributes:
        answered: Profiles that came.
        failures: Reason, to the first colon -> profiles that did not come.
        stopped: Why the run ended before everything had been asked, or None.
    """

    answered: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    stopped: str | None = None


def sampled(prompts: Iterable[Prompt], limit: int | None, *, seed: int) -> list[Prompt]:
    """Returns a random sample, in random order; a larger one begins with the smaller.

    Args:
        prompts: What there is to ask.
        limit: Most of them; None for all.
        seed: Another seed takes others.
    """

    def place(prompt: Prompt) -> bytes:
        return hashlib.sha256(f"{seed}\n{prompt.kind}\n{prompt.id}".encode()).digest()

    return sorted(prompts, key=place)[:limit]


async def teach(
    prompts: Sequence[Prompt],
    teacher: Teacher,
    journal: Journal,
    *,
    concurrency: int,
    progress: Callable[[Outcome], None],
    prices: Prices | None = None,
    budget: float | None = None,
) -> Outcome:
    """Asks for each profile that the journal lacks.

    Args:
        prompts: What to ask.
        teacher: Whom.
        journal: Open; keeps what comes.
        concurrency: Requests at a time.
        progress: Is told of each profile that came or failed.
        prices: What tokens cost; needed for a budget.
        budget: No request is begun once the journal's tokens, earlier runs' as well, cost this.

    Raises:
        TeacherRefused: The server answers no request like ours; what came before is kept.
        InstructionDataError: Too many in a row failed.
    """
    queue = [prompt for prompt in prompts if prompt.id not in journal.done]
    waiting = iter(queue)
    outcome, failing = Outcome(), 0

    def spent() -> bool:
        if budget is None or prices is None:
            return False
        return prices.cost(journal.prompt_tokens, journal.answer_tokens) >= budget

    async def work(endpoint: Endpoint) -> None:
        nonlocal failing
        for prompt in waiting:
            if spent():
                outcome.stopped = f"the budget of {budget:,.2f} is used up"
                return
            reply = await endpoint.ask(prompt)
            usage = {"prompt_tokens": reply.prompt_tokens, "answer_tokens": reply.answer_tokens}
            answer = _answer(prompt, teacher, reply).to_row() | {"usage": usage}
            if reply.failure is None:
                journal.answered(answer)
                outcome.answered, failing = outcome.answered + 1, 0
            else:
                journal.failed(answer | {"failure": reply.failure})
                outcome.failures[reply.failure.split(":")[0]] += 1
                failing += 1
            progress(outcome)
            if failing >= GIVE_UP:
                raise InstructionDataError(
                    f"{failing} profiles in a row failed, the last with: {reply.failure}. What came "
                    "before is kept; the same command goes on"
                )

    async with Endpoint(teacher, connections=concurrency) as endpoint:
        workers = [asyncio.ensure_future(work(endpoint)) for _ in range(concurrency)]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
    return outcome


def _answer(prompt: Prompt, teacher: Teacher, reply: Reply) -> TeacherAnswer:
    return TeacherAnswer(
        kind=prompt.kind,
        id=prompt.id,
        text=reply.text,
        lines=tuple(prompt.lines),
        neighbours=tuple(prompt.neighbours),
        source=teacher.model,
    )
