"""[admin], [api] and [api.keys]: what is read, every mistake, and that no key is shown."""

from __future__ import annotations

import pytest

from fws.base.problem import Problem
from fws.config import Admin, Api, ApiKey
from tests.config.test_reader import ECHO, config_of, problems_of

KEY = "k" * 32


def problems(toml: str, **environ: str) -> list[Problem]:
    return problems_of(f"{toml}\n{ECHO}", environ)


def test_without_the_sections_there_is_no_api() -> None:
    config = config_of(ECHO)
    assert (config.api, config.api_keys, config.admin) == (None, {}, Admin())


def test_all_of_it_is_read() -> None:
    toml = """
        [admin]
        listen = "127.0.0.1:9100"
        [api]
        key = "${FWS_API_KEY}"
        path = "/v1/api"
        [api.keys.shop]
        key = "shop-shop-shop-shop"
        publish = ["orders:{id}", "news"]
        [api.keys."the page"]
        key = "page-page-page-page"
        read = true
    """
    config = config_of(toml + ECHO, {"FWS_API_KEY": KEY})
    assert config.admin.listen == "127.0.0.1:9100"
    assert config.api == Api(key=KEY, path="/v1/api")
    assert config.api_keys == {
        "shop": ApiKey(key="shop-shop-shop-shop", publish=["orders:{id}", "news"]),
        "the page": ApiKey(key="page-page-page-page", read=True),
    }


REACHED = f"[api]\npath = '/api'\nkey = '{KEY}'\n"


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        (f"[api]\nkey = '{KEY}'", "nobody could reach the API"),
        ("[api]\npath = '/api'", "[api] has no 'key'"),
        ("[api]\npath = '/api'\nkey = ''", "the key is empty"),
        ("[api]\npath = '/api'\nkey = '${EMPTY:-}'", "the key is empty"),
        ("[api]\npath = '/api'\nkey = 'two words'", "visible ASCII"),
        ("[api]\npath = '/api'\nkey = 7", "expected text"),
        (REACHED.replace("/api", "api"), "is not a path for the API"),
        (REACHED.replace("/api", "/api/"), "is not a path for the API"),
        (REACHED.replace("/api", "/"), "is not a path for the API"),
        (REACHED.replace("/api", "/{api}"), "is not a path for the API"),
        (REACHED.replace("/api", "/healthz"), "is not a path for the API"),
        (REACHED.replace("/api", "/login"), "is not a path for the API"),
        (REACHED + "keys = 'shop'", "expected a section"),
        (REACHED + "[api.keys]\nshop = 'abc'", "expected a table"),
        (REACHED + "[api.keys.shop]\nread = true", "[api.keys.shop] has no 'key'"),
        (REACHED + "[api.keys.shop]\nkey = 'abc'", "this key may do nothing"),
        (REACHED + "[api.keys.shop]\nkey = 'abc'\npublish = ['a*b']", "* stands at the end only"),
        (REACHED + "[api.keys.shop]\nkey = 'abc'\nread = 'maybe'", "expected true or false"),
        (REACHED + "[api.keys.shop]\nkey = 'abc'\nwrite = true", "unknown key 'write'"),
        (REACHED + f"[api.keys.shop]\nkey = '{KEY}'\nread = true", "[api] has the same key"),
        ("[api.keys.shop]\nkey = 'abc'\nread = true", "[api] has no 'key'"),
        ("[admin]\nlisten = '127.0.0.1'", "has no port"),
        ("[admin]\nlisten = '127.0.0.1:9000'", "[server] listens there already"),
        ("[admin]\nport = 9100", "unknown key 'port'"),
    ],
)
def test_each_mistake_is_one_problem(toml: str, message: str) -> None:
    found = problems(toml)
    assert [message in problem.message for problem in found] == [True], found


@pytest.mark.parametrize(
    "toml",
    [
        "[api]\npath = '/api'\nkey = 'an open secret'",
        REACHED + "[api.keys.a]\nread = true\nkey = 'secret'\n[api.keys.b]\nread = true\nkey = 'secret'",
    ],
)
def test_a_problem_does_not_show_the_key(toml: str) -> None:
    (problem,) = problems(toml)
    assert "secret" not in str(problem)


def test_an_admin_address_is_enough_to_reach_the_api() -> None:
    assert problems(f"[admin]\nlisten = ':9100'\n[api]\nkey = '{KEY}'") == []
