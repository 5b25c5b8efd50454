"""docs/reference/settings.md names every setting, with the default that the code has."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import SecretStr

from services.profiles.settings import Settings

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "settings.md"
ROWS = dict(re.findall(r"^\| `RECLM_(\w+)` \| (.*?) \|", PAGE.read_text(), re.MULTILINE))


def test_the_page_has_the_settings_and_no_others():
    assert {name.lower() for name in ROWS} == set(Settings.model_fields)


@pytest.mark.parametrize("name", Settings.model_fields)
def test_the_page_has_the_default(name: str):
    default = Settings.model_fields[name].default
    if isinstance(default, SecretStr):
        default = default.get_secret_value()
    shown = ROWS[name.upper()].strip("`")
    if default is None or default == "":
        assert shown in {"none", "empty"}
    elif isinstance(default, bool):
        assert shown == str(default).lower()
    elif isinstance(default, int | float):
        assert float(shown) == default
    else:
        assert shown == default
