"""Settings and the registries of what they choose name the same."""

from __future__ import annotations

from typing import get_args

from services.profiles.encoders.registry import ENCODERS
from services.profiles.generators.registry import GENERATORS
from services.profiles.settings import EncoderName, GeneratorName, StoreName
from services.profiles.stores.registry import STORES


def test_each_choice_has_an_entry() -> None:
    assert set(STORES) == set(get_args(StoreName))
    assert set(GENERATORS) == set(get_args(GeneratorName))
    assert set(ENCODERS) == set(get_args(EncoderName))
