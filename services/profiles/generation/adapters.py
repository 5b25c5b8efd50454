"""An adapter and the prompt that it was trained with: one must not be served with another.

A model that learned to answer one prompt answers another one worse, and nothing shows it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from services.profiles.domain.profile import Component
from services.profiles.generation.prompts.base import component
from services.profiles.generation.prompts.registry import CURRENT, PROMPTS, prompt_named

if TYPE_CHECKING:
    from pathlib import Path

    from services.profiles.generation.prompts.base import PromptVersion


class WrongPrompt(ValueError):
    """An adapter would be served with a prompt that it was not trained with."""


def trained_prompt(folder: Path) -> Component:
    """Returns the prompt that an adapter was trained with, as its manifest names it.

    Args:
        folder: The adapter's, with `manifest.json`.

    Raises:
        ValueError: There is no manifest, or it names no prompt.
    """
    path = folder / "manifest.json"
    try:
        prompt = json.loads(path.read_text(encoding="utf-8"))["prompt"]
        return Component(str(prompt["name"]), str(prompt["hash"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} does not say what prompt its adapter needs: {error!r}") from error


def prompt_of_adapter(adapter: str, trained: Component, asked: str | None) -> PromptVersion:
    """Returns the prompt to serve an adapter with.

    Args:
        adapter: Its name, for the message.
        trained: The prompt that it was trained with.
        asked: The name of the version that the settings ask for; None for none.

    Raises:
        UnknownPrompt: The settings ask for a version that this release does not have.
        WrongPrompt: The adapter was trained with another prompt, or with other words of this one.
    """
    prompt = PROMPTS.get(trained.name, CURRENT) if asked is None else prompt_named(asked)
    served = component(prompt, examples=False)
    if served != trained:
        raise WrongPrompt(
            f"adapter {adapter} was trained with prompt {trained.name} ({trained.hash}), and would "
            f"be served with {served.name} ({served.hash}); set RECLM_PROMPT to the prompt that it "
            "was trained with, use a release that has it, or serve no adapter"
        )
    return prompt
