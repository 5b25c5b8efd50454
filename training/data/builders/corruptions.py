"""Corruptions: how the worse profile of a preference pair is made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.profiles.domain.profile import PHRASES
from training.data.errors import InstructionDataError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np

    from services.profiles.domain.profile import ProfileText

NEIGHBOUR, RUN_TOGETHER = "neighbour", "run together"
IDENTITY_ONLY, IDENTITY_REPEATED = "identity only", "identity repeated"
EMPTY, FULL_STOP = "empty template", "full stop"

SHARES: Mapping[str, float] = {
    NEIGHBOUR: 0.3,
    RUN_TOGETHER: 0.3,
    IDENTITY_ONLY: 0.1,
    IDENTITY_REPEATED: 0.1,
    EMPTY: 0.1,
    FULL_STOP: 0.1,
}
"""Kind of corruption -> share of the pairs (arXiv 2412.19302)."""


@dataclass(frozen=True, slots=True)
class Shares:
    """The shares of corruptions among pairs.

    Attributes:
        of: Kind -> share. Other kinds do not occur.
    """

    of: Mapping[str, float]

    def __post_init__(self) -> None:
        """Raises InstructionDataError where a kind is unknown, or the shares do not add up to 1."""
        if unknown := sorted(set(self.of) - set(SHARES)):
            raise InstructionDataError(
                f"unknown corruptions {', '.join(unknown)}; the known ones are {', '.join(SHARES)}"
            )
        if min(self.of.values(), default=-1) < 0 or abs(sum(self.of.values()) - 1) > 1e-9:
            raise InstructionDataError(f"shares must be 0 or more and add up to 1: {self.of}")

    def draw(self, count: int, rng: np.random.Generator) -> list[str]:
        """Returns a kind for each pair, in random order, each as often as its share says.

        Counts are rounded by largest remainder; of equal remainders the kind named first is preferred.
        """
        exact = {kind: share * count for kind, share in self.of.items()}
        counts = {kind: int(number) for kind, number in exact.items()}
        short = count - sum(counts.values())
        for kind in sorted(exact, key=lambda kind: counts[kind] - exact[kind])[:short]:
            counts[kind] += 1
        kinds = [kind for kind, number in counts.items() for _ in range(number)]
        return [kinds[row] for row in rng.permutation(count)]


def corrupt(kind: str, own: ProfileText, neighbour: ProfileText) -> str:
    """Returns the worse profile of a pair.

    Args:
        kind: A kind in `SHARES`.
        own: The user's profile.
        neighbour: The profile of a similar user.
    """
    return _WAYS[kind](own, neighbour)


def _run_together(own: ProfileText, neighbour: ProfileText) -> str:
    return f"{own.text} {neighbour.text}"


def _identity_only(own: ProfileText, _: ProfileText) -> str:
    return f"{own.kind.capitalize()} identity: {', '.join(own.identities)}."


def _identity_repeated(own: ProfileText, _: ProfileText) -> str:
    name, phrases = own.kind.capitalize(), ", ".join(own.identities)
    return f"{name} identity: {phrases}; {name} interests: {phrases}."


def _empty(own: ProfileText, _: ProfileText) -> str:
    name, commas = own.kind.capitalize(), ", " * (PHRASES[own.kind] - 1)
    return f"{name} identity: {commas}; {name} interests: {commas}."


_WAYS: Mapping[str, Callable[[ProfileText, ProfileText], str]] = {
    NEIGHBOUR: lambda _, neighbour: neighbour.text,
    RUN_TOGETHER: _run_together,
    IDENTITY_ONLY: _identity_only,
    IDENTITY_REPEATED: _identity_repeated,
    EMPTY: _empty,
    FULL_STOP: lambda *_: ".",
}
