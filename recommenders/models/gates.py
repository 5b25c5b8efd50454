"""The gate of profiles: how much of a profile is added to what is known without it.

A gate starts at 0, so that a model with profiles begins as the one without, and lets in what helps
(as in ReZero, Bachlechner et al., UAI 2021, for the layers of a network). There is one gate for
items, and one for users of each range of clicks; the fewer clicks a profile was made from, the less
it counts. A missing profile adds nothing.

A gate is trained on what training shows, which is neither a new item nor a validation part. So the
profiles of a trained model also have a scale, which is chosen on validation, 0 among its values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from recommenders.models.formulas import numbers

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from recommenders.models.formulas import Formula

SEGMENTS = (0, 1, 2, 3, 6, 11)
"""Least number of clicks of each segment of users: 0, 1, 2, 3-5, 6-10, more."""

_SPEED = 4.0
"""Gates are this multiple of their parameters. A gate has to come as far as from 0 to 1 in the steps
in which the weights of a layer move by some tenths."""

SCALES = (1.0, 0.75, 0.5, 0.25, 0.0)
"""Scales of a trained model's profiles to choose from on validation."""


def segment_of(clicks: NDArray[np.integer]) -> NDArray[np.int64]:
    """Returns the number of the segment of each number of clicks, from 0."""
    return np.searchsorted(SEGMENTS, clicks, side="right").astype(np.int64) - 1


class Gate(nn.Module):
    """The gates of one model.

    Attributes:
        of_items: The gate of items' profiles, (1,); before `_SPEED`.
        of_users: The gates of users' profiles, one for each of `SEGMENTS`; before `_SPEED`.
        scale: Multiplies all of them; 1 in training.
    """

    scale: Tensor

    def __init__(self, clicks: NDArray[np.integer]) -> None:
        """Creates closed gates.

        Args:
            clicks: Training interactions of each user, (n_users,). A segment in which no user has any
                cannot be trained; it has the gate of the nearest that can, of two the higher one.
        """
        super().__init__()
        self.of_items = nn.Parameter(torch.zeros(1))
        self.of_users = nn.Parameter(torch.zeros(len(SEGMENTS)))
        self.register_buffer("scale", torch.ones(1))
        trained = np.unique(segment_of(clicks[clicks > 0]))
        apart = np.abs(np.arange(len(SEGMENTS))[:, None] - trained[::-1])
        self._trained = trained[::-1][apart.argmin(axis=1)] if len(trained) else trained

    def items(self, profiles: Tensor) -> Tensor:
        """Returns the gate of each item, (n_items, 1).

        Args:
            profiles: Standardised profiles, (n_items, p); zeros for a missing one.
        """
        return _SPEED * self.scale * self.of_items * _there(profiles)

    def users(self, profiles: Tensor, clicks: NDArray[np.integer]) -> Tensor:
        """Returns the gate of each user, (users, 1).

        Args:
            profiles: Standardised profiles, (users, p); zeros for a missing one.
            clicks: Number of known items, (users,).
        """
        if not len(self._trained):
            return torch.zeros((len(profiles), 1)).to(profiles)
        segments = torch.from_numpy(self._trained[segment_of(clicks)]).to(profiles.device)
        counts = torch.from_numpy(clicks.astype(np.float32)).to(profiles.device)
        gates = functional.embedding(segments, self.of_users[:, None])
        credible = ((counts + 1) / (counts + 2))[:, None]
        return _SPEED * self.scale * gates * credible * _there(profiles)

    def formula(self, count: Formula, has_profile: Formula) -> Formula:
        """Returns the formula of `users`.

        Args:
            count: Number of known items, (batch, 1).
            has_profile: 1 for a user with a profile, else 0, (batch, 1).
        """
        if not len(self._trained):
            return count * 0
        levels = _SPEED * numbers(self.scale * self.of_users).astype(np.float64)[self._trained]
        gate = count * 0 + float(levels[0])
        for least, step in zip(SEGMENTS[1:], np.diff(levels).tolist(), strict=True):
            reached = (count - float(least - 1)).at_least(0.0).at_most(1.0)
            gate = gate + reached * step
        return gate * ((count + 1.0) / (count + 2.0)) * has_profile


def _there(profiles: Tensor) -> Tensor:
    """Returns 1 for a row with a profile and 0 for a row of zeros, (rows, 1)."""
    return (profiles != 0).any(dim=1, keepdim=True).to(profiles.dtype)
