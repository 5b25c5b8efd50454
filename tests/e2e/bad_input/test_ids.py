"""Any id that is text goes round, whatever URLs make of its characters; what is no text is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from tests.e2e.bad_input.bad import assert_problem, post
from tests.support.profiles import HEAT, copy_profile

if TYPE_CHECKING:
    import httpx

    from tests.support.servers import RedisServer

pytestmark = [pytest.mark.stack, pytest.mark.model]


@pytest.mark.usefixtures("costs_nothing")
@pytest.mark.parametrize(
    ("path", "where"),
    [
        ("/profiles/user/" + "y" * 257, "id"),
        ("/profiles/user/a%00b", "id"),
        ("/items/a%09b", "id"),
        ("/items?limit=0", "limit"),
        ("/items?limit=many", "limit"),
        ("/items?cursor=%21%21", "cursor"),
        ("/items?q=" + "w" * 257, "q"),
    ],
)
def test_bad_paths_and_queries(api: httpx.Client, path: str, where: str) -> None:
    assert_problem(api.get(path), 422, "invalid-input", where)


def at(api: httpx.Client, path: str) -> httpx.URL:
    """Returns the URL with a path that goes out as it is."""
    return api.base_url.copy_with(raw_path=path.encode())


@pytest.mark.usefixtures("costs_nothing")
@pytest.mark.parametrize("bytes_", ["%FF", "a%C3", "%ED%A0%80", "%EF%BF%BD%FF"])
def test_a_path_that_is_not_utf_8_is_nobodys(api: httpx.Client, bytes_: str) -> None:
    for method, place in (
        *(("GET", f"profiles/{kind}") for kind in ("user", "item")),
        *(("DELETE", f"profiles/{kind}") for kind in ("user", "item")),
        *((method, "items") for method in ("PUT", "GET", "DELETE")),
    ):
        url = at(api, f"/{place}/{bytes_}")
        response = api.request(method, url, json={"title": "a"} if method == "PUT" else None)
        assert_problem(response, 422, "invalid-input", "request.path.id", "UTF-8")


# What a client has to write for ids that URL libraries take for ways up.
DOTS = {".": "%2E", "..": "%2E%2E"}

IDS = [
    "bad a/b",
    "bad //",
    "bad ..",
    "bad/../up",
    "..",
    ".",
    "bad a:b:c",
    "bad %2F%",
    "bad ?#&=",
    "bad \\ '\"",
    "bad \u0645\u0631\u062d\u0628\u0627",
    "bad 👩‍👩‍👧",
    "bad \ufffd",
    "bad \u202ereversed\u202c",
    "é",
    "e\u0301",
    "z" * 256,
]


@pytest.mark.parametrize("id_", IDS)
def test_ids_of_any_other_characters_go_round(api: httpx.Client, id_: str) -> None:
    url = at(api, "/items/" + (DOTS.get(id_) or quote(id_, safe="")))
    put = api.put(url, json={"title": f"Title of {id_}"})
    assert put.status_code == 200, put.text
    assert api.get(url).json()["id"] == id_
    listed = api.get("/items", params={"q": "title", "limit": 1000}).json()["items"]
    assert id_ in [item["id"] for item in listed]
    assert api.delete(url).status_code == 204
    assert api.get(url).status_code == 404


@pytest.mark.parametrize("id_", IDS)
def test_profiles_of_such_ids_go_round(
    api: httpx.Client, redis_server: RedisServer, source: str, id_: str
) -> None:
    copy_profile(redis_server.client(), source, [id_])
    url = at(api, "/profiles/user/" + (DOTS.get(id_) or quote(id_, safe="")))
    asked = post(api, {"id": id_, "history": [HEAT]})
    assert (asked.status_code, asked.json()["status"]) == (200, "cached")
    assert asked.json()["id"] == id_
    assert api.get(url).json() == asked.json()
    embeddings = api.post("/embeddings/user", json={"ids": [id_]}).json()["rows"]
    assert embeddings[0]["id"] == id_
    assert embeddings[0]["vector"]
    assert api.delete(url).status_code == 204
    assert api.get(url).status_code == 404
