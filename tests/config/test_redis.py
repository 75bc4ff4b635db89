from __future__ import annotations

from typing import Any

import pytest

from fws.config.redis import RedisAddress, parse_redis


@pytest.mark.parametrize(
    ("url", "wanted", "shown"),
    [
        ("redis://h", {"hosts": (("h", 6379),)}, "redis://h:6379"),
        ("redis://h:1/2", {"hosts": (("h", 1),), "db": 2}, "redis://h:1"),
        ("redis://[::1]:7", {"hosts": (("::1", 7),)}, "redis://[::1]:7"),
        ("redis://:p%40%3A@h", {"hosts": (("h", 6379),), "password": "p@:"}, "redis://h:6379"),
        ("redis://u:p@x/y@h", {"hosts": (("h", 6379),), "username": "u", "password": "p@x/y"}, "redis://h:6379"),
        ("rediss://h", {"scheme": "rediss", "hosts": (("h", 6379),)}, "rediss://h:6379"),
        ("unix:///run/r.sock", {"scheme": "unix", "path": "/run/r.sock"}, "unix:///run/r.sock"),
        (
            "unix://:p@/run/r%20s.sock",
            {"scheme": "unix", "path": "/run/r s.sock", "password": "p"},
            "unix:///run/r s.sock",
        ),
        (
            "redis+sentinel://u:p@a:1,b/svc/3",
            {
                "kind": "sentinel",
                "scheme": "redis+sentinel",
                "hosts": (("a", 1), ("b", 26379)),
                "service": "svc",
                "db": 3,
                "username": "u",
                "password": "p",
            },
            "redis+sentinel://a:1,b:26379/svc",
        ),
        (
            "redis+cluster://a,b:7/0",
            {"kind": "cluster", "scheme": "redis+cluster", "hosts": (("a", 6379), ("b", 7))},
            "redis+cluster://a:6379,b:7",
        ),
    ],
)
def test_addresses(url: str, wanted: dict[str, Any], shown: str) -> None:
    address = parse_redis(url)
    assert address == RedisAddress(**({"kind": "one", "scheme": "redis"} | wanted))
    assert str(address) == repr(address) == shown


@pytest.mark.parametrize(
    ("url", "rule"),
    [
        ("s3cret", "no address of Redis"),
        ("http://s3cret@h", "no address of Redis"),
        ("redis://", "needs a host"),
        ("redis://:s3cret", "needs a host"),
        ("redis://user:s3cret", "a port is a number"),
        ("redis://h:65536", "a port is a number"),
        ("redis://h/s3cret", "the database is a number"),
        ("redis://h/1/2", "only the database"),
        ("redis://h?db=1", "no options"),
        ("redis://a,b", "names one host"),
        ("redis://:s3cret@", "needs a host"),
        ("unix://:s3cret@run/r.sock", "whole path"),
        ("redis+sentinel://:s3cret@h:1", "name of its service"),
        ("redis+cluster://:s3cret@h/1", "only the database 0"),
    ],
)
def test_what_is_no_address_is_told_without_the_password(url: str, rule: str) -> None:
    with pytest.raises(ValueError, match=rule) as error:
        parse_redis(url)
    assert "s3cret" not in str(error.value)
