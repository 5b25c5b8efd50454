"""How long the model takes for a prompt, by how many it has at a time: a moving estimate."""

from __future__ import annotations

_KEPT = 0.96
"""What an observation still counts when the next one comes: the last fifty or so decide."""

_PRIOR = 1.0
"""Variance of the concurrency from which on observations decide about the slope, and not a prior."""

_OUTLIER = 4.0
"""No observation counts as more than so many times what was expected: one stall is no trend."""


class ServiceTime:
    """Fits seconds = a + b * prompts at a time to what was observed, the newest counting most.

    A server that batches does each step for all prompts at once, and a step takes longer the more
    there are. Where all observations are of one concurrency, half of the time is taken to grow with
    it.
    """

    def __init__(self) -> None:
        self._weight = 0.0
        self._n = self._s = self._nn = self._ns = 0.0

    def observe(self, prompts: float, seconds: float) -> None:
        """Records a prompt.

        Args:
            prompts: How many were at the model on average while it was, itself included.
            seconds: How long it was there.
        """
        expected = self.predict(prompts)
        if expected is not None:
            seconds = min(seconds, _OUTLIER * expected)
        self._weight = self._weight * _KEPT + 1
        self._n = self._n * _KEPT + prompts
        self._s = self._s * _KEPT + seconds
        self._nn = self._nn * _KEPT + prompts * prompts
        self._ns = self._ns * _KEPT + prompts * seconds

    def predict(self, prompts: float) -> float | None:
        """Returns the seconds that a prompt takes among so many; None before the first observation."""
        if not self._weight:
            return None
        intercept, slope = self._line()
        return intercept + slope * prompts

    def most_within(self, seconds: float) -> float | None:
        """Returns how many prompts at a time are answered within so many seconds."""
        if not self._weight:
            return None
        intercept, slope = self._line()
        if slope <= 0:
            return float("inf") if intercept <= seconds else 0.0
        return max(0.0, (seconds - intercept) / slope)

    def _line(self) -> tuple[float, float]:
        n, s = self._n / self._weight, self._s / self._weight
        variance = max(0.0, self._nn / self._weight - n * n)
        covariance = self._ns / self._weight - n * s
        slope = (covariance + _PRIOR * s / (2 * n)) / (variance + _PRIOR)
        # Neither faster with more prompts, nor slower than one after the other.
        slope = min(max(slope, 0.0), s / n)
        return s - slope * n, slope
