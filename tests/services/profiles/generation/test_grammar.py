from __future__ import annotations

import re

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from services.profiles.domain.profile import PHRASES, Kind, ProfileText
from services.profiles.generation import grammar
from services.profiles.generation.grammar import NotAProfile

KINDS: list[Kind] = ["user", "item"]
FEW_PHRASES = [
    "night owl",
    "dark humour",
    "Night Owl",
    "city dweller",
    "old music",
    "long talks",
    "7",
]
USER = "User identity: film lover, night owl, city dweller; User interests: dark humour, long talks, old music."


def written(kind: Kind) -> st.SearchStrategy[str]:
    return st.from_regex(grammar.pattern(kind), fullmatch=True)


def phrases_of(text: str) -> list[str]:
    halves = [half.split(":")[1] for half in text.rstrip(".").split(";")]
    return [phrase.strip() for half in halves for phrase in half.split(",")]


# Shrinking a text of 30 words under a pattern of 700 characters takes minutes and shows no more.
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=50, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(data=st.data())
def test_whatever_the_pattern_admits_is_a_profile_if_its_phrases_differ(
    kind: Kind, data: st.DataObject
) -> None:
    text = data.draw(written(kind))
    phrases = phrases_of(text)
    if len({phrase.casefold() for phrase in phrases}) == len(phrases):
        profile = grammar.parse(kind, text)
        assert (*profile.identities, *profile.interests) == tuple(phrases)
        assert len(profile.identities) == len(profile.interests) == PHRASES[kind]
        assert profile.text == text
    else:
        with pytest.raises(NotAProfile):
            grammar.parse(kind, text)


@pytest.mark.parametrize("kind", KINDS)
@given(text=st.text())
def test_a_parsed_profile_is_well_formed_whatever_the_model_wrote(kind: Kind, text: str) -> None:
    name = kind.capitalize()
    try:
        profile = grammar.parse(kind, f"{name} identity: {text}; {name} interests: {text}")
    except NotAProfile:
        return
    assert_well_formed(profile)


def assert_well_formed(profile: ProfileText) -> None:
    phrases = (*profile.identities, *profile.interests)
    assert len(profile.identities) == len(profile.interests) == PHRASES[profile.kind]
    assert len({phrase.casefold() for phrase in phrases}) == len(phrases)
    for phrase in phrases:
        assert phrase[0].isalpha()
        assert not re.search(r"[,;:\n]", phrase)
    assert grammar.parse(profile.kind, profile.text) == profile


def test_a_profile_is_read_into_its_phrases() -> None:
    assert grammar.parse("user", USER) == ProfileText(
        "user",
        ("film lover", "night owl", "city dweller"),
        ("dark humour", "long talks", "old music"),
    )


@pytest.mark.parametrize(
    "text",
    [
        "  " + USER.replace(", ", " ,\n   ").replace("; ", " ;\t") + "\n",
        USER.rstrip("."),
        USER.replace("User", "USER").replace("identity", "Identity"),
        USER.replace("city dweller", "city dweller, one too many, and more"),
        USER.replace("night owl", "film lover, Film Lover, night owl"),
        USER.replace("dark humour", "night owl, dark humour"),
        USER.replace("dark humour", "1234, dark humour"),
    ],
    ids=["spaces", "full stop", "case", "surplus", "repeated", "in both halves", "no letters"],
)
def test_what_can_be_repaired_is(text: str) -> None:
    assert grammar.parse("user", text) == grammar.parse("user", USER)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1234567890",
        "I am sorry, I cannot do that.",
        USER.replace("User", "Item"),
        USER.split(";", maxsplit=1)[0],
        USER + " " + USER,
        "Sure! " + USER,
        USER.replace(", city dweller", ""),
        USER.replace("city dweller", "night owl"),
        USER.replace("city dweller", "x" * 121),
        "User identity: , , ; User interests: , , .",
    ],
)
def test_junk_is_not_a_profile(text: str) -> None:
    with pytest.raises(NotAProfile):
        grammar.parse("user", text)


def test_an_earlier_try_supplies_the_phrases_that_are_missing() -> None:
    with pytest.raises(NotAProfile) as first:
        grammar.parse("user", USER.replace("city dweller", "night owl"))
    assert first.value.identities == ("film lover", "night owl")

    second = "User identity: film lover, early bird, early bird; User interests: tea, cake, tea."
    profile = grammar.parse("user", second, earlier=first.value)
    assert profile.identities == ("film lover", "early bird", "night owl")
    assert profile.interests == ("tea", "cake", "dark humour")


@pytest.mark.parametrize(
    ("had", "begun", "following"),
    [
        (
            NotAProfile("", ("film lover", "night owl", "city dweller"), ("dark humour",)),
            "User identity: film lover, night owl, city dweller; User interests: dark humour,",
            " long talks, old music.",
        ),
        (
            NotAProfile("", ("film lover", "night owl", "city dweller"), ()),
            "User identity: film lover, night owl, city dweller; User interests:",
            " dark humour, long talks, old music.",
        ),
        (
            NotAProfile("", ("film lover",), ("dark humour", "long talks")),
            "User identity: film lover,",
            " night owl, city dweller; User interests: old music.",
        ),
        (
            NotAProfile(
                "", ("film lover", "night owl"), ("dark humour", "long talks", "old music")
            ),
            "User identity: film lover, night owl,",
            " city dweller; User interests:.",
        ),
        (NotAProfile(""), "", USER),
    ],
)
def test_the_rest_of_an_answer_is_asked_for_alone(
    had: NotAProfile, begun: str, following: str
) -> None:
    assert grammar.rest("user", had)[0] == begun
    assert re.fullmatch(grammar.rest("user", had)[1], following)
    profile = grammar.parse("user", begun + following, earlier=had)
    wanted = grammar.parse("user", USER)
    assert set(profile.identities) == set(wanted.identities)
    assert set(profile.interests) == set(wanted.interests)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=50, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(data=st.data())
def test_phrases_that_begin_apart_make_a_profile_of_whatever_there_was(
    kind: Kind, data: st.DataObject
) -> None:
    some = st.lists(st.sampled_from(FEW_PHRASES), max_size=5)
    halves = [", ".join(data.draw(some)) for _ in range(2)]
    name = kind.capitalize()
    try:
        grammar.parse(kind, f"{name} identity: {halves[0]}; {name} interests: {halves[1]}")
    except NotAProfile as error:
        had = error
    else:
        return
    begun, following = grammar.rest(kind, had, apart=True)
    written = data.draw(st.from_regex(following, fullmatch=True))
    assert_well_formed(grammar.parse(kind, begun + written, earlier=had))


def test_what_an_earlier_try_had_survives_a_try_without_the_form() -> None:
    with pytest.raises(NotAProfile) as first:
        grammar.parse("user", USER.replace("city dweller", "night owl"))
    with pytest.raises(NotAProfile) as second:
        grammar.parse("user", "no", earlier=first.value)
    assert second.value.interests == ("dark humour", "long talks", "old music")
