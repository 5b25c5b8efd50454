"""Options of earlier releases: each is refused, and the message names the option that replaced it."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Mapping

RENAMED: Mapping[str, str] = {
    "--judged": "--evaluation-prompts",
    "--no-muddle": "--no-repetitive",
}
"""Old option -> new option."""


class _Refused(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        parser.error(f"{self.option_strings[0]} is now called {self.const}")


def refuse_old_name(parser: argparse.ArgumentParser, new: str) -> None:
    """Makes a parser refuse the old name of one of its options, with values or without."""
    for old, current in RENAMED.items():
        if current == new:
            parser.add_argument(old, action=_Refused, nargs="*", const=new, help=argparse.SUPPRESS)
