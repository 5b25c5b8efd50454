from __future__ import annotations

from training.runs.progress import ProgressReporter


def test_progress_is_told_every_five_seconds_and_at_the_end() -> None:
    told: list[str] = []
    now = 100.0

    reporter = ProgressReporter(told.append, "step", 3_000, first=1_000, clock=lambda: now)
    for seconds, done in ((4.9, 1_001), (5.0, 1_002), (9.9, 1_003), (10.0, 1_100)):
        now = 100.0 + seconds
        reporter.at(done, f"loss {done / 1_000}")
    reporter.at(3_000)
    assert told == [
        "step 1,002 of 3,000, loss 1.002, 1:23:15 left",
        "step 1,100 of 3,000, loss 1.1, 0:03:10 left",
        "step 3,000 of 3,000, 0:00:00 left",
    ]
