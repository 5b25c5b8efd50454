from __future__ import annotations

import pytest

from reclm_client.reading import row_error
from services.profiles.api.problems import document
from services.profiles.errors import InvalidInput, Overloaded


@pytest.mark.parametrize(("seconds", "said"), [(0.2, 1), (7.4, 7)])
def test_a_row_says_when_to_try_again_and_the_client_reads_it(seconds: float, said: int) -> None:
    error = Overloaded("too many")
    error.retry_after = seconds
    problem = document(error)
    assert problem["retry_after"] == said
    assert row_error({"error": problem}, 429).retry_after == said


def test_what_does_not_pass_by_itself_says_no_time() -> None:
    assert "retry_after" not in document(InvalidInput("no", errors=[]))
