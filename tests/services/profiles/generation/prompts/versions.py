"""A second version of the prompts, for tests of what happens when there are several."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.profiles.domain.profile import Message
from services.profiles.generation.prompts.profile_v1 import ProfileV1

if TYPE_CHECKING:
    from collections.abc import Sequence


class ProfileV2(ProfileV1):
    """Version 1 with another first turn for users."""

    name = "profile-v2"

    def user_messages(self, lines: Sequence[str], *, examples: bool = True) -> list[Message]:
        """Returns the chat."""
        _, *rest = super().user_messages(lines, examples=examples)
        return [Message("system", "Write a profile in other words."), *rest]
