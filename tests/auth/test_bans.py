"""The map of bans, which the filter `ban` and the API share."""

from __future__ import annotations

import pytest

from fws.auth.bans import FORGET, Banned, Bans, field_of
from fws.storages.memory import MemoryStorage
from tests.support import Clock


def test_a_ban_ends_with_its_time_and_is_forgotten_a_day_later() -> None:
    storage, wall = MemoryStorage(Clock()), Clock(1000.0)
    bans = Bans(storage, "bans", wall)
    bans.put("user:ann", 10.5)
    bans.put("user:bob", None)
    assert bans.all() == [Banned("user", "ann", 1011.0), Banned("user", "bob", 0.0)]
    assert bans.active(["user:ann", "user:bob", "user:eve"]) == {"user:ann", "user:bob"}
    wall.advance(11)
    assert bans.all() == [Banned("user", "bob", 0.0)]
    assert bans.active(["user:ann", "user:bob"]) == {"user:bob"}
    assert storage.fields("bans").keys() == {"user:ann", "user:bob"}
    wall.advance(FORGET)
    bans.active(["user:ann"])
    assert storage.fields("bans").keys() == {"user:bob"}
    assert bans.remove("user:bob")
    assert not bans.remove("user:bob")


def test_what_others_have_written_into_the_map() -> None:
    storage = MemoryStorage(Clock())
    for field, value in {"nonsense": "", "user": "", "user:a:b": "soon", "other:x": "", "token:t": "nan"}.items():
        storage.set_field("bans", field, value)
    assert Bans(storage, "bans", Clock()).all() == [Banned("token", "t", 0.0), Banned("user", "a:b", 0.0)]


@pytest.mark.parametrize(
    ("kind", "name", "field"),
    [
        ("user", "<b>ann</b>", "user:<b>ann</b>"),
        ("user", "\ud800", "user:?"),
        ("token", "abc", "token:abc"),
        ("address", "192.0.2.1", "address:192.0.2.1"),
        ("address", "2001:DB8:0:0::1", "address:2001:db8::1"),
        # Bans of these were accepted, and banned nobody.
        ("address", "::ffff:192.0.2.1", "address:192.0.2.1"),
        ("address", "fe80::1%eth0", "address:fe80::1"),
    ],
)
def test_fields(kind: str, name: str, field: str) -> None:
    assert field_of(kind, name) == field


@pytest.mark.parametrize("name", ["", "ann", "192.0.2.1.5", "192.0.2.0/24"])
def test_what_is_no_address(name: str) -> None:
    with pytest.raises(ValueError, match="is not an IP address"):
        field_of("address", name)
