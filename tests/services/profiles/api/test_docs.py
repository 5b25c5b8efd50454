"""/docs and /redoc work without the internet."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import httpx
import pytest

from services.profiles.app import create_app
from services.profiles.settings import Settings

pytestmark = pytest.mark.anyio

LOADED = re.compile(r"""(?:src|href)=["']([^"']+)["']""")


@pytest.mark.parametrize(("page", "loads"), [("/docs", 3), ("/redoc", 2)])
async def test_everything_that_a_page_loads_is_served_here(page: str, loads: int) -> None:
    transport = httpx.ASGITransport(app=create_app(Settings(api_keys="k" * 32)))
    async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
        shown = await client.get(page, headers={"Authorization": f"Bearer {'k' * 32}"})
        assert shown.status_code == 200
        found = LOADED.findall(shown.text)
        assert len(found) == loads
        for address in found:
            assert urlsplit(address).netloc == "", address
            asset = await client.get(address)  # as a browser does: without a key
            assert asset.status_code == 200, address
            assert "@import" not in asset.text
        assert not re.search(r"https?://(?!service)", re.sub(r"<title>.*?</title>", "", shown.text))
