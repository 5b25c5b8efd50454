"""Bounds what a body costs to read, before it is read.

A JSON document of a megabyte takes 20 ms to read when it is one list of strings, and over a second
when it is half a million members that nobody knows. So not only bytes are limited but also what
they make: arrays, objects, members and strings. What our calls take is far below these limits.
"""

from __future__ import annotations

import re

from services.profiles.errors import BodyTooLarge

_SMALL = 16 * 1024
"""Bodies up to here are cheap whatever is in them."""

_MOST_CONTAINERS = 16_000
_MOST_MEMBERS = 20_000
_MOST_STRINGS = 50_000
_MOST_COMMAS = 120_000

_MEMBER = re.compile(rb'"\s*:')


def check_json(body: bytes) -> None:
    """Refuses a JSON document that is expensive to read.

    Counts characters, also those inside of strings: a text would have to consist of brackets to be
    refused for them.

    Raises:
        BodyTooLarge: It has too many arrays, objects, members, strings or elements.
    """
    if len(body) <= _SMALL:
        return
    if body.count(b"[") + body.count(b"{") > _MOST_CONTAINERS:
        raise _too_much("arrays and objects", _MOST_CONTAINERS)
    if body.count(b'"') > 2 * _MOST_STRINGS:
        raise _too_much("strings", _MOST_STRINGS)
    if body.count(b",") > _MOST_COMMAS:
        raise _too_much("elements", _MOST_COMMAS)
    # Colons are frequent in ids; members end in a quote and a colon.
    if body.count(b":") > _MOST_MEMBERS and len(_MEMBER.findall(body)) > _MOST_MEMBERS:
        raise _too_much("members", _MOST_MEMBERS)


def _too_much(what: str, most: int) -> BodyTooLarge:
    return BodyTooLarge(f"the body has more than {most} {what}; send it in smaller parts")
