"""All keys of a tenant lie in one slot of a cluster, and old keys can be brought there."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from redis.crc import key_slot

from services.profiles.domain.profile import ProfileKey
from services.profiles.stores.redis import keys

if TYPE_CHECKING:
    from tests.support.servers import RedisServer

RENAME = Path(__file__).parents[5] / "deploy" / "redis" / "rename-keys.lua"


def names(tenant: str) -> list[bytes]:
    """Every key that `keys` can name, with ids that hold what has a meaning in hash tags."""
    given = {
        "tenant": tenant,
        "user_id": "a{b}:c",
        "key": ProfileKey(tenant, "item", "{other}"),
    }
    return [
        function(*(given[parameter] for parameter in inspect.signature(function).parameters))
        for function in vars(keys).values()
        if inspect.isfunction(function)
    ]


@pytest.mark.parametrize("tenant", ["default", "T-1_x"])
def test_all_keys_of_a_tenant_are_in_one_slot(tenant: str) -> None:
    found = names(tenant)
    assert len(set(found)) == len(found) >= 14
    assert {key_slot(name) for name in found} == {key_slot(tenant.encode())}


def test_old_keys_are_renamed_but_for_profiles_and_those_of_other_tenants(
    redis_server: RedisServer, tenant: str
) -> None:
    other = f"{tenant}-2"
    with redis_server.client() as client:
        client.zadd(f"h:{tenant}:7:x", {"event": 0})
        client.hset(f"i:{tenant}", "a", "A")
        client.set(f"p:{tenant}:u:7", "profile", ex=60)
        client.set(f"l:{tenant}:u:7", "lease", ex=60)
        client.hset(f"i:{other}", "b", "B")
        renamed, deleted = client.eval(RENAME.read_text(), 0, tenant)
        assert (renamed, deleted) == (2, 2)
        assert client.zrange(keys.interactions(tenant, "7:x"), 0, -1) == [b"event"]
        assert client.hgetall(keys.items(tenant)) == {b"a": b"A"}
        assert client.hgetall(f"i:{other}") == {b"b": b"B"}
        assert not list(client.scan_iter(f"?:{tenant}:*"))
