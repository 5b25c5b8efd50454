"""The circuit breaker before the model and before the encoder."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from services.profiles.breaker import Breaker, Clock
from services.profiles.domain.profile import Component
from services.profiles.encoders.guarded import GuardedEncoder
from services.profiles.errors import (
    EncoderRefused,
    EncoderUnavailable,
    ModelRefused,
    ModelUnavailable,
    Overloaded,
)
from services.profiles.generators.base import Generation, GenerationRequest
from services.profiles.generators.guarded import GuardedGenerator
from services.profiles.telemetry import Metrics

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = pytest.mark.anyio

REQUEST = GenerationRequest([], "", 1, 0.0, 0.0, 0.0)


class HandClock(Clock):
    """Stands until a test moves it."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


class Model:
    """Fails as the script says, and counts; waits while it is held.

    Attributes:
        script: Errors to raise; None for an answer.
        down: What `check` raises.
    """

    def __init__(self) -> None:
        self.script: deque[Exception | None] = deque()
        self.down: Exception | None = None
        self.free = asyncio.Event()
        self.free.set()
        self.asked = 0
        self.checked = 0
        self.window = 4096

    async def generate(self, request: GenerationRequest) -> Generation:
        self.asked += 1
        await self.free.wait()
        error = self.script.popleft() if self.script else None
        if error is not None:
            raise error
        return Generation("text", 1, 1)

    async def context_window(self) -> int:
        if self.down is not None:
            raise self.down
        return self.window

    async def check(self) -> None:
        self.checked += 1
        if self.down is not None:
            raise self.down

    async def aclose(self) -> None:
        """Holds nothing."""


class Circuit:
    """A model behind a breaker that opens after three failures, for at most four seconds."""

    def __init__(self) -> None:
        self.clock, self.metrics, self.model = HandClock(), Metrics(), Model()
        self.breaker = Breaker(
            "model",
            failing=ModelUnavailable,
            refusing=ModelRefused,
            failures=3,
            longest_open_s=4,
            metrics=self.metrics,
            clock=self.clock,
        )
        self.generator = GuardedGenerator(self.model, self.breaker)

    async def fail(self, times: int = 3) -> None:
        for _ in range(times):
            self.model.script.append(ModelUnavailable("it answered 500"))
            with pytest.raises(ModelUnavailable):
                await self.generator.generate(REQUEST)

    def open(self) -> float:
        labels = {"dependency": "model"}
        return self.metrics.registry.get_sample_value("reclm_circuits_open", labels) or 0.0


@pytest.fixture
async def circuit() -> Circuit:
    return Circuit()


async def test_after_failures_in_a_row_nobody_asks_and_all_are_told_why(circuit: Circuit) -> None:
    await circuit.fail()
    assert circuit.model.asked == 3
    for _ in range(10):
        with pytest.raises(ModelUnavailable, match=r"3 times in a row.*answered 500") as raised:
            await circuit.generator.generate(REQUEST)
        assert raised.value.retry_after == 1.0
    assert circuit.model.asked == 3
    with pytest.raises(ModelUnavailable, match="answered 500"):
        circuit.breaker.refuse()
    assert circuit.open() == 1
    labels = {"dependency": "model"}
    refused = circuit.metrics.registry.get_sample_value("reclm_circuit_refusals_total", labels)
    assert refused == 10


async def test_an_answer_between_failures_begins_the_count_again(circuit: Circuit) -> None:
    await circuit.fail(2)
    await circuit.generator.generate(REQUEST)
    await circuit.fail(2)
    await circuit.generator.generate(REQUEST)
    assert circuit.open() == 0


@pytest.mark.parametrize("error", [ModelRefused("no template"), Overloaded("busy")])
async def test_a_refusal_and_an_overload_are_no_failures(
    circuit: Circuit, error: Exception
) -> None:
    circuit.model.script.extend([error] * 9)
    for _ in range(9):
        with pytest.raises(type(error)):
            await circuit.generator.generate(REQUEST)
    assert circuit.open() == 0


async def test_one_probe_at_a_time_tests_recovery(circuit: Circuit) -> None:
    await circuit.fail()
    circuit.clock.now += 1.01
    circuit.model.free.clear()
    probe = asyncio.create_task(circuit.generator.generate(REQUEST))
    while circuit.model.asked < 4:  # noqa: ASYNC110 - the model has no event for this
        await asyncio.sleep(0)
    for _ in range(5):
        with pytest.raises(ModelUnavailable):
            await circuit.generator.generate(REQUEST)
    assert circuit.model.asked == 4
    circuit.model.free.set()
    assert (await probe).text == "text"
    await asyncio.gather(*(circuit.generator.generate(REQUEST) for _ in range(5)))
    assert circuit.open() == 0


async def test_a_probe_that_is_cancelled_lets_the_next_one_try(circuit: Circuit) -> None:
    await circuit.fail()
    circuit.clock.now += 1.01
    circuit.model.free.clear()
    probe = asyncio.create_task(circuit.generator.generate(REQUEST))
    while circuit.model.asked < 4:  # noqa: ASYNC110 - the model has no event for this
        await asyncio.sleep(0)
    probe.cancel()
    await asyncio.wait({probe})
    circuit.model.free.set()
    assert (await circuit.generator.generate(REQUEST)).text == "text"


async def test_a_probe_asks_first_whether_the_server_is_there(circuit: Circuit) -> None:
    await circuit.fail()
    circuit.model.down = ModelUnavailable("nobody listens")
    circuit.clock.now += 1.01
    with pytest.raises(ModelUnavailable, match="nobody listens"):
        await circuit.generator.generate(REQUEST)
    assert circuit.model.asked == 3, "no prompt was sent to a server that is not there"


async def test_the_time_between_probes_grows_to_its_limit(circuit: Circuit) -> None:
    await circuit.fail()
    pauses = []
    for _ in range(4):
        with pytest.raises(ModelUnavailable) as raised:
            await circuit.generator.generate(REQUEST)
        pauses.append(raised.value.retry_after)
        circuit.clock.now += raised.value.retry_after + 0.01
        await circuit.fail(1)
    assert pauses == [1, 2, 4, 4]


async def test_readiness_tells_and_a_context_window_is_not_waited_for(circuit: Circuit) -> None:
    await circuit.generator.check()
    await circuit.fail()
    with pytest.raises(ModelUnavailable):
        await circuit.generator.generate(REQUEST)
    with pytest.raises(ModelUnavailable, match="in a row"):
        await circuit.generator.check()
    with pytest.raises(ModelUnavailable, match="in a row"):
        await circuit.generator.context_window()
    circuit.clock.now += 1.01
    await circuit.generator.check()
    assert await circuit.generator.context_window() == 4096


async def test_questions_about_the_window_that_fail_open_it_too(circuit: Circuit) -> None:
    circuit.model.down = ModelUnavailable("nobody listens")
    for _ in range(3):
        with pytest.raises(ModelUnavailable, match="nobody listens"):
            await circuit.generator.context_window()
    assert circuit.open() == 1


class Encoder:
    """Fails while it is broken."""

    component = Component("part", "hash")

    def __init__(self) -> None:
        self.broken: Exception | None = None
        self.asked = 0

    async def encode(self, texts: Sequence[str]) -> Any:
        self.asked += 1
        if self.broken is not None:
            raise self.broken
        return np.ones((len(texts), 1), np.float32)

    async def check(self) -> None:
        """Always there."""

    async def aclose(self) -> None:
        """Holds nothing."""


async def test_an_encoder_has_one_too() -> None:
    clock, encoder = HandClock(), Encoder()
    breaker = Breaker(
        "encoder",
        failing=EncoderUnavailable,
        refusing=EncoderRefused,
        failures=2,
        longest_open_s=4,
        metrics=Metrics(),
        clock=clock,
    )
    guarded = GuardedEncoder(encoder, breaker)
    encoder.broken = EncoderUnavailable("it answered 503")
    for _ in range(5):
        with pytest.raises(EncoderUnavailable, match="answered 503"):
            await guarded.encode(["a"])
    assert encoder.asked == 2
    with pytest.raises(EncoderUnavailable):
        await guarded.check()
    encoder.broken = None
    clock.now += 1.01
    assert (await guarded.encode(["a", "b"])).shape == (2, 1)
    await guarded.check()
    assert guarded.component == encoder.component
