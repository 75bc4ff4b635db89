"""Cookies in the place of keys, and which requests they are good for."""

from __future__ import annotations

import pytest

from fws.api.keys import Key, Keys
from fws.api.session import AGE, Asked, Sessions, check_same_origin, cookie_name, set_cookie
from fws.base.errors import Refusal
from tests.support import Clock

SECRET = "k" * 32
ADMIN = Key("[api]", SECRET, admin=True)
VIEWER = Key("viewer", "v" * 32, read=True)
KEYS = Keys([ADMIN, VIEWER])
JSON = {"content-type": "application/json", "host": "localhost:9100", "origin": "http://localhost:9100"}


def asked(**headers: str) -> Asked:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Asked({**JSON, **named}.get)


class TestCookies:
    def test_each_process_reads_it_and_it_is_not_the_key(self) -> None:
        wall = Clock(1000.0)
        cookie = Sessions(wall).begin(VIEWER)
        again = Keys([Key("[api]", SECRET, admin=True), Key("viewer", "v" * 32, read=True)])
        found = Sessions(wall).read(cookie, again)
        assert found is not None
        assert (found.name, found.read, found.admin) == ("viewer", True, False)
        assert "vvvv" not in cookie
        assert cookie != Sessions(wall).begin(VIEWER)
        # What a cookie may consist of (RFC 6265 4.1.1).
        assert all(char.isalnum() or char in "-_.=" for char in cookie)

    def test_it_ends_with_its_time(self) -> None:
        wall = Clock(1000.0)
        cookie = Sessions(wall).begin(ADMIN)
        wall.advance(AGE - 1)
        assert Sessions(wall).read(cookie, KEYS) is ADMIN
        wall.advance(1)
        assert Sessions(wall).read(cookie, KEYS) is None

    def test_it_ends_with_its_key(self) -> None:
        sessions = Sessions(Clock())
        cookie = sessions.begin(VIEWER)
        assert sessions.read(cookie, Keys([ADMIN])) is None
        assert sessions.read(cookie, Keys([ADMIN, Key("viewer", "w" * 32, read=True)])) is None
        # What the key permits now counts, and not what it permitted at the login.
        (more,) = Keys([Key("viewer", "v" * 32, admin=True)])
        found = sessions.read(cookie, Keys([more]))
        assert found is more

    def test_nobody_else_can_make_or_change_one(self) -> None:
        sessions = Sessions(Clock(1000.0))
        name, end, salt, signature = sessions.begin(VIEWER).split(".")
        admin_name = sessions.begin(ADMIN).split(".")[0]
        for forged in (
            f"{admin_name}.{end}.{salt}.{signature}",
            f"{name}.{int(end) + 1}.{salt}.{signature}",
            f"{name}.{end}.{salt}x.{signature}",
            f"{name}.{end}.{salt}.{signature[:-2]}A=",
            f"{name}.{end}.{salt}.",
            f"{name}.{end}.{salt}",
            f"{name}.٣.{salt}.{signature}",
            f"=.{end}.{salt}.=",
            f"{name}.{end}.{salt}.{signature}\n",
            "",
            "....",
            SECRET,
            "x" * 5000,
        ):
            assert sessions.read(forged, KEYS) is None, forged

    def test_the_flags(self) -> None:
        flags = "; Path=/; Max-Age=43200; HttpOnly; SameSite=Strict"
        assert set_cookie(asked(), "x", tls=False) == f"fws_admin_9100=x{flags}"
        assert set_cookie(asked(), "x", tls=True) == f"fws_admin_9100=x{flags}; Secure"
        behind = asked(host="ops.example.org", origin="https://ops.example.org")
        assert set_cookie(behind, "x", tls=False) == f"fws_admin=x{flags}; Secure"
        assert "; Secure" in set_cookie(asked(x_forwarded_proto="https"), "x", tls=False)
        assert set_cookie(asked(), "", tls=False).startswith("fws_admin_9100=; Path=/; Max-Age=0;")

    def test_servers_at_two_ports_of_a_host_do_not_take_one_anothers(self) -> None:
        assert cookie_name(asked()) != cookie_name(asked(host="localhost:9101"))
        both = asked(cookie="fws_admin_9101=b; fws_admin_9100=a; other")
        assert both.cookie(cookie_name(both)) == "a"
        assert asked(cookie="fws_admin_9100=" + "x" * 5000).cookie("fws_admin_9100") == ""

    def test_of_a_request(self) -> None:
        sessions = Sessions(Clock())
        cookie = f"fws_admin_9100={sessions.begin(ADMIN)}"
        assert sessions.key_of(asked(cookie=cookie), KEYS) is ADMIN
        assert sessions.key_of(asked(), KEYS) is None
        with pytest.raises(Refusal, match="401 The session has ended"):
            sessions.key_of(asked(cookie="fws_admin_9100=x"), KEYS)
        with pytest.raises(Refusal, match="403"):
            sessions.key_of(asked(cookie=cookie, content_type="text/plain"), KEYS)


@pytest.mark.parametrize(
    ("headers", "permitted"),
    [
        ({}, True),
        ({"content_type": "application/json; charset=utf-8"}, True),
        ({"host": "[::1]:9100", "origin": "http://[0:0:0:0:0:0:0:1]:9100"}, True),
        ({"host": "ops.example.org", "origin": "https://ops.example.org"}, True),
        ({"host": "ops.example.org:443", "origin": "https://ops.example.org"}, True),
        # A proxy may change the host. What the browser says about the site counts then.
        ({"host": "127.0.0.1:9100", "origin": "https://ops.example.org", "sec_fetch_site": "same-origin"}, True),
        # What a form or a script of another page can send without asking.
        ({"content_type": "text/plain"}, False),
        ({"content_type": "application/x-www-form-urlencoded"}, False),
        ({"content_type": "multipart/form-data; boundary=application/json"}, False),
        ({"content_type": ""}, False),
        ({"origin": "http://evil.example"}, False),
        ({"origin": "http://localhost:9101"}, False),
        ({"origin": "https://localhost:9100.evil.example"}, False),
        ({"origin": "null"}, False),
        ({"origin": "ftp://localhost:9100"}, False),
        ({"origin": "http://evil@localhost:9100"}, False),
        ({"sec_fetch_site": "cross-site"}, False),
        ({"sec_fetch_site": "same-site"}, False),
        ({"sec_fetch_site": "none"}, False),
    ],
)
def test_other_pages_cannot_use_a_session(headers: dict[str, str], permitted: bool) -> None:
    if permitted:
        check_same_origin(asked(**headers))
    else:
        with pytest.raises(Refusal) as refused:
            check_same_origin(asked(**headers))
        assert refused.value.status == 403


def test_without_an_origin_nothing_is_known_about_the_page() -> None:
    with pytest.raises(Refusal):
        check_same_origin(Asked({"content-type": "application/json", "host": "localhost:9100"}.get))
