"""What RECLM_REDIS_URL may be, and what is said of anything else."""

from __future__ import annotations

from typing import Any

import pytest
from redis.asyncio import SSLConnection, UnixDomainSocketConnection

from services.profiles.stores.redis.address import Address, parse
from services.profiles.stores.redis.client import RedisClient
from services.profiles.stores.redis.pool import FollowingSSLConnection, open_pool


def of(
    kind: Any, nodes: tuple[tuple[str, int], ...] = (), service: str = "", **options: Any
) -> Any:
    return Address(kind, nodes, service, options)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://cache", of("server", host="cache")),
        ("redis://cache:7000/3", of("server", host="cache", port=7000, db=3)),
        (
            "redis://ann:p%40ss@cache/0",
            of("server", host="cache", db=0, username="ann", password="p@ss"),
        ),
        ("rediss://cache", of("server", host="cache", connection_class=SSLConnection)),
        (
            "unix:///run/redis.sock?db=2",
            of(
                "server",
                path="/run/redis.sock",
                db=2,
                connection_class=UnixDomainSocketConnection,
            ),
        ),
        (
            "redis+sentinel://ann:p@a,b:26380,[::1]:7/films/2",
            of(
                "sentinel",
                (("a", 26379), ("b", 26380), ("::1", 7)),
                "films",
                username="ann",
                password="p",
                db=2,
            ),
        ),
        ("redis+sentinel://a/my%20films", of("sentinel", (("a", 26379),), "my films")),
        ("rediss+sentinel://a/films", of("sentinel", (("a", 26379),), "films", ssl=True)),
        (
            "rediss+cluster://:p@a,b:7000?ssl_ca_certs=/ca.pem",
            of(
                "cluster",
                (("a", 6379), ("b", 7000)),
                password="p",
                ssl=True,
                ssl_ca_certs="/ca.pem",
            ),
        ),
        ("redis+cluster://a/0", of("cluster", (("a", 6379),), db=0)),
    ],
)
def test_an_address_is_read(url: str, expected: Address) -> None:
    assert parse(url) == expected


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("cache:6379", "must begin with redis://"),
        ("http://:hunter2@cache", "must begin with redis://"),
        ("redis+ring://:hunter2@cache", "must begin with redis://"),
        ("unix+cluster:///run/redis.sock", "must begin with redis://"),
        ("redis://:hunter2@cache/films", "number of a database"),
        ("redis://:hunter/2@cache:1/0", "number of a database"),
        ("redis://:hunter2@cache:99999/0", "check port and options"),
        ("redis://:hunter2@cache:1/0?socket_timeout=x", "check port and options"),
        ("redis+sentinel://:hunter2@a,b", "names Sentinels but no service"),
        ("redis+sentinel://:hunter2@a/films/x", "number of a database"),
        ("redis+sentinel://:hunter2@a,,b/films", "one of them is neither"),
        ("redis+cluster://:hunter2@a:99999", "one of them is neither"),
        ("redis+cluster://:hunter2@a/1", "database 1, but a Redis Cluster has database 0"),
        ("redis+cluster://:hunter2@a?db=1", "database 1, but a Redis Cluster has database 0"),
        ("redis://:hunter2@cache?wrong_option=1", "wrong_option"),
        ("redis+sentinel://:hunter2@a/films?wrong_option=1", "wrong_option"),
    ],
)
def test_what_is_no_address_is_refused_without_its_secrets(url: str, told: str) -> None:
    with pytest.raises(ValueError, match=told) as refused:
        RedisClient(url=url, timeout_s=1, connections=1)
    assert "RECLM_REDIS_URL" in str(refused.value)
    assert "hunter" not in str(refused.value)


def test_a_password_of_its_own_is_for_a_url_without_one() -> None:
    assert parse("redis://ann@cache", password="own").options["password"] == "own"
    assert parse("redis://ann:given@cache", password="own").options["password"] == "given"
    assert parse("redis+cluster://a", password="own").options["password"] == "own"
    assert "own" not in repr(parse("redis+cluster://a", password="own"))


def test_tls_is_used_towards_the_servers_that_are_found() -> None:
    pool, _ = open_pool(parse("rediss+cluster://a"), slot=0, timeout_s=1, connections=1)
    assert pool.connection_class is FollowingSSLConnection


def test_replicas_must_answer_before_the_client_gives_up() -> None:
    with pytest.raises(ValueError, match=r"RECLM_REDIS_WAIT_S \(2\) must be less than"):
        RedisClient(url="redis://cache", timeout_s=1, connections=1, replicas=1, replicas_s=2)
