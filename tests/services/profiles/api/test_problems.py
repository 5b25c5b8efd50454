from __future__ import annotations

import pytest

from reclm_client import ItemRow
from reclm_client.batches import Batch
from reclm_client.schemas.batch import ItemLine
from services.profiles.api.problems import problem_of
from services.profiles.errors import InvalidInput, Overloaded


@pytest.mark.parametrize(("seconds", "said"), [(0.2, 1), (7.4, 7)])
def test_a_row_says_when_to_try_again_and_the_client_reads_it(seconds: float, said: int) -> None:
    error = Overloaded("too many")
    error.retry_after = seconds
    problem = problem_of(error)
    assert problem.retry_after == said
    batch = Batch("/items:batch", ItemLine, ItemRow)
    row = batch.read(ItemLine(0, "a", 429, problem), 0)
    assert row.error is not None
    assert row.error.retry_after == said


def test_what_does_not_pass_by_itself_says_no_time() -> None:
    assert "retry_after" not in problem_of(InvalidInput("no", errors=[])).model_dump()
