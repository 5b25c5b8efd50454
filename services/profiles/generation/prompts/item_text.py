"""Text from users and items, made safe to stand in a prompt.

All prompt versions put such text into a chat through `item_line` alone, which keeps it data: one
line, no control characters, nothing that a chat template would read as the end of a turn.
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from services.profiles.domain.profile import Item

_MAX_LINE_CHARACTERS = 2_000

# What chat templates mark turns and tools with: <|im_end|>, </s>, <<SYS>>, <start_of_turn>,
# <repo_name>, [INST]. A space inside each breaks it for the tokenizer and keeps it readable.
_MARKERS = re.compile(
    r"<(?=[|\uff5c/<A-Za-z])"
    r"|\[(?=/?(?:INST|AVAILABLE_TOOLS|SYSTEM_PROMPT|THINK|TOOL_[A-Z]+)\])"
    r"|[|\uff5c](?=>)"
)
_SPACES = re.compile(r"\s+")


def as_data(text: str) -> str:
    """Returns text as one line that cannot end its turn of the chat.

    Removes control and format characters (bidirectional overrides, zero-width marks), folds white
    space, and breaks up the markers with which chat templates separate turns.
    """
    visible = text[: 4 * _MAX_LINE_CHARACTERS]
    if not visible.isprintable():
        # A text has thousands of characters and few different ones.
        visible = visible.translate({ord(one): _shown(one) for one in set(visible)})
    composed = unicodedata.normalize("NFC", visible)
    return _SPACES.sub(" ", _MARKERS.sub(lambda match: match.group() + " ", composed)).strip()


def _shown(character: str) -> str:
    """Returns what stands for a character: a space for what ends a line, nothing for marks."""
    match unicodedata.category(character):
        case "Cc" | "Zl" | "Zp":
            return " "
        case "Cf" | "Cs" | "Co":
            return ""
        case _:
            return character


def item_line(item: Item) -> str:
    """Returns an item as the model reads it: title, category and description on one line."""
    parts = (as_data(item.title), as_data(item.category), as_data(item.description))
    return " | ".join(part for part in parts if part)[:_MAX_LINE_CHARACTERS]
