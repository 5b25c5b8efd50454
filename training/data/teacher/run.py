"""Asks a teacher for profiles, a bounded number at a time, and saves each answer at once."""

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
"""Consecutive failures that end a run: then the server is the reason, not the profile."""


@dataclass(slots=True)
class Outcome:
    """The result of a run.

    Attributes:
        answered: Number of profiles received.
        failures: Reason, up to the first colon -> number of profiles that failed.
        stopped: Why the run ended early, or None.
    """

    answered: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    stopped: str | None = None


def sampled(prompts: Iterable[Prompt], limit: int | None, *, seed: int) -> list[Prompt]:
    """Returns a random sample, in random order; a larger sample begins with the smaller one.

    Args:
        prompts: All prompts.
        limit: Size of the sample; None for all.
        seed: Seed of the sample.
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
        prompts: The prompts.
        teacher: The server to ask.
        journal: An open journal, which saves the answers.
        concurrency: Most requests at a time.
        progress: Called after each profile that was received or failed.
        prices: Prices of tokens; needed for a budget.
        budget: Cost of all the journal's tokens, earlier runs included, at which no further request
            is sent.

    Raises:
        TeacherRefused: The server refuses all such requests; earlier answers are kept.
        InstructionDataError: Too many consecutive profiles failed.
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
                    f"{failing} profiles in a row failed, the last with: {reply.failure}. Earlier "
                    "answers are kept; the same command resumes"
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
