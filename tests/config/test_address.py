"""Addresses to listen on, and who has the say: flag, `PORT`, file."""

from __future__ import annotations

import pytest

from fws.config import Tcp, Unix, effective_listen, parse_listen


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
        ("localhost:", "is no port"),
        ("localhost:http", "'http' is no port"),
        ("localhost:65536", "is no port"),
        ("localhost:-1", "is no port"),
        ("localhost:1_0", "is no port"),
        ("localhost:٩", "is no port"),
        ("localhost: 80", "is no port"),
        ("9000", '":9000" for all interfaces'),
        ("::1", r'"\[::1\]:9000"'),
        ("::1:9000", r'or "\[::1\]:9000"'),
        ("[::1", "in brackets"),
        ("[::1]9000", "in brackets"),
        ("[localhost]:9000", "in brackets"),
        ("*:9000", '":9000"'),
        ("*", '":9000"'),
        ("http://localhost:9000", "only the host and the port, such as 'localhost:9000'"),
        ("a b:1", "is no address"),
        ("-a:1", "is no address"),
        ("a/b:1", "is no address"),
        ("unix:", "path of its file"),
        ("unix:/a\0b", "path of its file"),
        ("unix:/" + "é" * 54, "at most 107 bytes"),
    ],
)
def test_what_is_no_address_is_refused_with_advice(text: str, advice: str) -> None:
    with pytest.raises(ValueError, match=advice):
        parse_listen(text)


@pytest.mark.parametrize(
    ("config", "flag", "port", "address"),
    [
        ("127.0.0.1:9000", None, None, "127.0.0.1:9000"),
        ("127.0.0.1:9000", None, "8000", "127.0.0.1:8000"),
        ("127.0.0.1:9000", None, "", "127.0.0.1:9000"),
        ("127.0.0.1:9000", None, "0", "127.0.0.1:0"),
        ("127.0.0.1", None, None, "127.0.0.1:9000"),
        ("127.0.0.1:9000", "0.0.0.0:7000", "8000", "0.0.0.0:7000"),
        ("127.0.0.1:9000", "0.0.0.0:0", "8000", "0.0.0.0:0"),
        ("127.0.0.1:9001", "0.0.0.0", "8000", "0.0.0.0:8000"),
        ("127.0.0.1:9001", "0.0.0.0", None, "0.0.0.0:9001"),
        ("127.0.0.1:9001", "[::]", None, "[::]:9001"),
        ("127.0.0.1:9001", ":7000", "oops", ":7000"),
        ("127.0.0.1:9000", "unix:/a", "8000", "unix:/a"),
        ("unix:/a", None, "8000", "unix:/a"),
        ("unix:/a", None, "oops", "unix:/a"),
        ("unix:/a", "localhost", None, "localhost:9000"),
        ("unix:/a", "localhost", "8000", "localhost:8000"),
    ],
)
def test_the_flag_wins_over_the_variable_and_that_over_the_file(
    config: str, flag: str | None, port: str | None, address: str
) -> None:
    assert str(effective_listen(config, flag=flag, port_variable=port)) == address


def test_an_error_names_who_is_wrong() -> None:
    with pytest.raises(ValueError, match="the variable PORT: 'oops' is no port"):
        effective_listen("127.0.0.1:9000", flag=None, port_variable="oops")
    with pytest.raises(ValueError, match="--listen: 'a b' is no address"):
        effective_listen("127.0.0.1:9000", flag="a b", port_variable=None)
