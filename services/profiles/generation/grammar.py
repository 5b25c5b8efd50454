"""The form of a profile: the pattern that decoding is held to, and the parser that checks it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from services.profiles.domain.profile import PHRASES, ProfileText

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from services.profiles.domain.profile import Kind

# Two to six words of letters. Letters first: under a looser pattern an untrained model answers
# "1234567890". Single words are left out because they make bland profiles ("drama"), and more
# than one hyphen because a small model does not stop at two. An article may stand first: a model
# that wants to write "a fan" and must not goes on from the a ("aired on television"). Each word
# matches in one way only, so that a backtracking engine, too, is done with a long text in no time.
_WORD = "([A-Z][a-z]{1,13}|[a-z]{1,14})"
_DECODED_PHRASE = rf"((a|an|the) )?[A-Za-z][a-z]{{2,13}}(-[a-z]{{2,12}})?( {_WORD}){{1,5}}"

_INITIALS = "scpadmtrbfhelgwinovukjyqzx"
"""Letters by how many English words begin with them, roughly, so that all lots are worth drawing."""

_MAX_PHRASE = 120
_PHRASE = re.compile(r"[^\W\d_](?:[\w '’&/.+-]*[\w'’+])?")


class NotAProfile(ValueError):
    """A text does not have the form of a profile.

    Attributes:
        identities: What could be read of the first half all the same.
        interests: What could be read of the second half.
    """

    def __init__(
        self, reason: str, identities: tuple[str, ...] = (), interests: tuple[str, ...] = ()
    ) -> None:
        super().__init__(reason)
        self.identities = identities
        self.interests = interests


def pattern(kind: Kind) -> str:
    """Returns the regular expression that a decoder of this kind of profile is held to."""
    phrases = _listed([_DECODED_PHRASE] * PHRASES[kind])
    name = kind.capitalize()
    return rf"{name} identity:{phrases}; {name} interests:{phrases}\."


def rest(kind: Kind, had: NotAProfile, *, apart: bool = False) -> tuple[str, str]:
    """Returns how an answer goes on that has some phrases already, at the cost of the others.

    Args:
        kind: Whose profile it should be.
        had: What is known of it.
        apart: Have each new phrase begin with letters that no other phrase begins with. Whatever
            a model makes of that, a complete answer is a profile; and because such phrases are
            chosen by their letters in part, it is for when the model was free and failed.

    Returns:
        The beginning of the answer, without a space at its end, and the pattern that what follows
        is held to. Both together, parsed with `had` as the earlier try, are a profile as soon as
        the new phrases are different ones.
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

    Repairs what can be repaired without inventing words: white space, a missing full stop,
    surplus phrases, repeated phrases, and phrases too few that an earlier try can supply.

    Args:
        kind: Whose profile it should be.
        text: What the model wrote.
        earlier: What was wrong with the try before this one.

    Raises:
        NotAProfile: The form is not there, or there are too few different phrases.
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
    """Says whether a text can stand in a profile as one identity or interest."""
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
