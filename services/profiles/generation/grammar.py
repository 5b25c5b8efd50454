"""The form of a profile: the pattern that decoding is constrained to, and the parser."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from services.profiles.domain.profile import PHRASES, ProfileText

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from services.profiles.domain.profile import Kind

# Two to six words of letters. Letters only: with a looser pattern an untrained model answers
# "1234567890". No single words: they make bland profiles ("drama"). One hyphen in a phrase at most:
# a small model does not stop at two. An article may come first: a model that wants to write "a fan"
# and may not continues the a ("aired on television"). Each word matches in one way only, so that a
# backtracking engine takes linear time.
_WORD = "([A-Z][a-z]{1,13}|[a-z]{1,14})"
_DECODED_PHRASE = rf"((a|an|the) )?[A-Za-z][a-z]{{2,13}}(-[a-z]{{2,12}})?( {_WORD}){{1,5}}"

_INITIALS = "scpadmtrbfhelgwinovukjyqzx"
"""Letters by how many English words begin with them, roughly: they are dealt out evenly."""

_MAX_PHRASE = 120
_PHRASE = re.compile(r"[^\W\d_](?:[\w '’&/.+-]*[\w'’+])?")


class NotAProfile(ValueError):
    """A text does not have the form of a profile.

    Attributes:
        identities: The phrases that could be read of the first half.
        interests: The phrases that could be read of the second half.
    """

    def __init__(
        self, reason: str, identities: tuple[str, ...] = (), interests: tuple[str, ...] = ()
    ) -> None:
        super().__init__(reason)
        self.identities = identities
        self.interests = interests


def pattern(kind: Kind) -> str:
    """Returns the regular expression to which decoding of this kind of profile is constrained."""
    phrases = _listed([_DECODED_PHRASE] * PHRASES[kind])
    name = kind.capitalize()
    return rf"{name} identity:{phrases}; {name} interests:{phrases}\."


def rest(kind: Kind, had: NotAProfile, *, apart: bool = False) -> tuple[str, str]:
    """Returns the beginning of an answer that has some phrases already, and a pattern for the rest.

    Args:
        kind: The kind of profile.
        had: The phrases of an earlier try.
        apart: Make each new phrase begin with a letter that no other phrase begins with. Every
            complete answer is then a profile. But the phrases are chosen by their letters in part,
            so this is for a model that has failed without it.

    Returns:
        The beginning, without a space at its end, and the pattern to which decoding of the rest is
        constrained. Both together, parsed with `had` as the earlier try, are a profile if the new
        phrases differ from the others.
    """
    wanted = PHRASES[kind]
    first = max(0, wanted - len(had.identities))
    new = [_DECODED_PHRASE] * (first + max(0, wanted - len(had.interests)))
    if apart:
        new = _phrases_apart(len(new), (*had.identities, *had.interests))
    name = kind.capitalize()
    if not had.identities and not had.interests:
        begun, following = "", f"{name} identity:{_listed(new[:first])}; {name} interests:"
    elif first:
        begun = _begun(f"{name} identity:", had.identities)
        following = f"{_listed(new[:first])}; {name} interests:"
    else:
        identities = _begun(f"{name} identity:", had.identities[:wanted]).rstrip(",")
        begun = _begun(f"{identities}; {name} interests:", had.interests)
        following = ""
    return begun, rf"{following}{_listed(new[first:])}\."


def parse(kind: Kind, text: str, *, earlier: NotAProfile | None = None) -> ProfileText:
    """Reads a profile from what a model wrote.

    Repairs what needs no new words: white space, a missing full stop, surplus phrases, repeated
    phrases, and missing phrases that an earlier try had.

    Args:
        kind: The kind of profile.
        text: What the model wrote.
        earlier: The error of the try before this one.

    Raises:
        NotAProfile: The text has another form, or there are too few different phrases.
    """
    name = kind.capitalize()
    match = re.fullmatch(
        rf"\s*{name} identity:(?P<identities>[^;:]*);\s*{name} interests:(?P<interests>[^;:]*)",
        text,
        re.IGNORECASE,
    )
    had = earlier or NotAProfile("")
    if match is None:
        raise NotAProfile("the form is not there", had.identities, had.interests)
    seen: set[str] = set()
    identities = _phrases(match["identities"], had.identities, seen)
    interests = _phrases(match["interests"], had.interests, seen)
    wanted = PHRASES[kind]
    if len(identities) < wanted or len(interests) < wanted:
        reason = f"{len(identities)}+{len(interests)} different phrases, not {wanted}+{wanted}"
        raise NotAProfile(reason, identities, interests)
    return ProfileText(kind, identities[:wanted], interests[:wanted])


def is_phrase(text: str) -> bool:
    """Returns whether a text can be one identity or interest of a profile."""
    return len(text) <= _MAX_PHRASE and _PHRASE.fullmatch(text) is not None


def _begun(label: str, phrases: tuple[str, ...]) -> str:
    return label + "".join(f" {phrase}," for phrase in phrases)


def _listed(phrases: Sequence[str]) -> str:
    """Returns the pattern of a list of phrases, each with a space before it."""
    return ",".join(f" {phrase}" for phrase in phrases)


def _phrases_apart(count: int, others: Iterable[str]) -> list[str]:
    """Returns patterns of short phrases that differ from each other and from others."""
    taken = {phrase[0].casefold() for phrase in others}
    free = [letter for letter in _INITIALS if letter not in taken]
    return [
        rf"[{initials}{initials.upper()}][a-z]{{2,13}}( {_WORD}){{1,2}}"
        for initials in ("".join(free[start::count]) for start in range(count))
    ]


def _phrases(written: str, earlier: tuple[str, ...], seen: set[str]) -> tuple[str, ...]:
    """Returns the well-formed phrases that are not in `seen`, and adds them to it."""
    found = []
    for part in (*written.split(","), *earlier):
        phrase = " ".join(part.split()).rstrip(".").rstrip()
        if is_phrase(phrase):
            folded = phrase.casefold()
            if folded not in seen:
                seen.add(folded)
                found.append(phrase)
    return tuple(found)
