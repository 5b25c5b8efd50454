"""The versions of the prompts, by name. A new version is one file and one line here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.profiles.generation.prompts.profile_v1 import ProfileV1

if TYPE_CHECKING:
    from collections.abc import Mapping

    from services.profiles.generation.prompts.base import PromptVersion

PROMPTS: Mapping[str, PromptVersion] = {
    "profile-v1": ProfileV1(),
}

CURRENT = PROMPTS["profile-v1"]
"""What is used where no version is named."""


class UnknownPrompt(ValueError):
    """No version of the prompts has this name."""


def prompt_named(name: str | None = None) -> PromptVersion:
    """Returns a version of the prompts; the current one for None.

    Raises:
        UnknownPrompt: There is none of this name.
    """
    if name is None:
        return CURRENT
    try:
        return PROMPTS[name]
    except KeyError:
        raise UnknownPrompt(
            f"there is no prompt {name!r}; this release has {', '.join(PROMPTS)}"
        ) from None
