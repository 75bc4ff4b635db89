from __future__ import annotations

from typing import Any

import msgspec
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
        ("s3cret", "not an address of Redis"),
        ("http://s3cret@h", "not an address of Redis"),
        ("redis://", "needs a host"),
        ("redis://:s3cret", "needs a host"),
        ("redis://user:s3cret", "a port is a number"),
        ("redis://h:65536", "a port is a number"),
        ("redis://h/s3cret", "the database is a number"),
        ("redis://h/1/2", "only the database"),
        ("redis://a,b", "names one host"),
        ("redis://:s3cret@", "needs a host"),
        ("unix://:s3cret@run/r.sock", "whole path"),
        ("redis+sentinel://:s3cret@h:1", "name of its service"),
        ("redis+cluster://:s3cret@h/1", "only the database 0"),
    ],
)
def test_an_invalid_address_is_reported_without_its_password(url: str, rule: str) -> None:
    with pytest.raises(ValueError, match=rule) as error:
        parse_redis(url)
    assert "s3cret" not in str(error.value)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("valkey://h", RedisAddress("one", "redis", (("h", 6379),))),
        ("valkeys://h:1", RedisAddress("one", "rediss", (("h", 1),))),
        ("REDISS://h", RedisAddress("one", "rediss", (("h", 6379),))),
        ("redis://h?db=3", RedisAddress("one", "redis", (("h", 6379),), db=3)),
        ("redis://h/2?db=3", RedisAddress("one", "redis", (("h", 6379),), db=2)),
        ("unix:///r.sock?db=3", RedisAddress("one", "unix", path="/r.sock", db=3)),
        ("redis+socket:///r.sock", RedisAddress("one", "unix", path="/r.sock")),
        (
            "redis://h?username=u&password=p%40",
            RedisAddress("one", "redis", (("h", 6379),), username="u", password="p@"),
        ),
        ("redis://user:@h", RedisAddress("one", "redis", (("h", 6379),), username="user")),
        ("rediss://:p@h:1?ssl_cert_reqs=none", RedisAddress("one", "rediss", (("h", 1),), password="p", verify="none")),
        ("rediss://h?ssl_cert_reqs=CERT_REQUIRED", RedisAddress("one", "rediss", (("h", 6379),), verify="full")),
        ("rediss://h?ssl_check_hostname=false", RedisAddress("one", "rediss", (("h", 6379),), verify="ca")),
        (
            "rediss://h?ssl_ca_certs=/a.pem&ssl_certfile=/c.pem&ssl_keyfile=/k.pem",
            RedisAddress("one", "rediss", (("h", 6379),), ca="/a.pem", cert="/c.pem", key="/k.pem"),
        ),
        (
            "redis://h?protocol=3&socket_timeout=5&decode_responses=True&health_check_interval=30&max_connections=9",
            RedisAddress("one", "redis", (("h", 6379),)),
        ),
        (
            "rediss+sentinel://a,b:1/s/2",
            RedisAddress("sentinel", "rediss+sentinel", (("a", 26379), ("b", 1)), service="s", db=2),
        ),
        ("rediss+cluster://a", RedisAddress("cluster", "rediss+cluster", (("a", 6379),))),
    ],
)
def test_urls_of_providers_are_read(url: str, expected: RedisAddress) -> None:
    """Fault: options after a `?` and TLS for Sentinel and Cluster could not be written as an address."""
    found = parse_redis(url)
    assert msgspec.structs.asdict(found) == msgspec.structs.asdict(expected)
    assert found.tls is url.lower().startswith(("rediss", "valkeys"))


def test_an_option_that_is_not_known_names_the_lines_that_are() -> None:
    with pytest.raises(ValueError, match=r"an option 'sslmode' that is not known here: settings such as ca, verify"):
        parse_redis("rediss://:s3cret@h?sslmode=require")
