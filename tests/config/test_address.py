"""Addresses to listen on."""

from __future__ import annotations

import pytest

from fws.config import Tcp, Unix, parse_listen


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:9000", Tcp("127.0.0.1", 9000)),
        ("localhost:0", Tcp("localhost", 0)),
        ("my-host.example:65535", Tcp("my-host.example", 65535)),
        ("localhost", Tcp("localhost", 9000)),
        ("[::1]:8000", Tcp("::1", 8000)),
        ("[::1]", Tcp("::1", 9000)),
        ("[fe80::1%eth0]:1", Tcp("fe80::1%eth0", 1)),
        (":9000", Tcp("", 9000)),
        ("unix:/run/fws.sock", Unix("/run/fws.sock")),
        ("unix:fws:1.sock", Unix("fws:1.sock")),
    ],
)
def test_an_address_is_read(text: str, address: Tcp | Unix) -> None:
    assert parse_listen(text) == address
    assert parse_listen(str(address)) == address


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("", "host:port"),
        (":", "0 .any free port. to 65535"),
        ("localhost:", "is not a port"),
        ("localhost:http", "'http' is not a port"),
        ("localhost:65536", "is not a port"),
        ("localhost:-1", "is not a port"),
        ("localhost:1_0", "is not a port"),
        ("localhost:٩", "is not a port"),
        ("localhost: 80", "is not a port"),
        ("9000", '":9000" for all interfaces'),
        ("::1", r'"\[::1\]:9000"'),
        ("::1:9000", r'or "\[::1\]:9000"'),
        ("[::1", "in brackets"),
        ("[::1]9000", "in brackets"),
        ("[localhost]:9000", "in brackets"),
        ("*:9000", '":9000"'),
        ("*", '":9000"'),
        ("http://localhost:9000", "only the host and the port, such as 'localhost:9000'"),
        ("a b:1", "is not an address"),
        ("-a:1", "is not an address"),
        ("a/b:1", "is not an address"),
        ("unix:", "path of its file"),
        ("unix:/a\0b", "path of its file"),
        ("unix:/" + "é" * 54, "at most 107 bytes"),
    ],
)
def test_an_invalid_address_is_refused_with_advice(text: str, advice: str) -> None:
    with pytest.raises(ValueError, match=advice):
        parse_listen(text)
