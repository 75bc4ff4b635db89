"""Tokens: what their claims give, when they end, and how clients renew them."""

from __future__ import annotations

import base64
import json
import logging
from pathlib import Path
from typing import Any

import jwt as pyjwt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fws.auth.credential import Denied
from fws.filters.jwt import Jwt
from fws.protocols.centrifuge.grants import MAX_INFO, Grant
from tests.auth.pairs import NOW, SECRET, signed
from tests.protocols.centrifuge.speaking import Speaker, connected, error
from tests.support import Harness, build

CONF = f"""
[limits]
ping_interval = "1d"
[endpoints."/"]
protocol = "centrifuge"
connect = ["jwt HS256 {SECRET}", "join all"]
message = ["when call.kind == 'rpc'", "set user={{identity.user}}"]
[endpoints."/tokens"]
protocol = "centrifuge"
connect = ["jwt HS256 {SECRET}"]
subscribe = ["jwt HS256 {SECRET} required=channel"]
[channels."all"]
presence = true
[channels."private"]
presence = true
subscribe = "channel != ''"
publish = "channel != ''"
[channels."editors"]
subscribe = "identity.role == 'editor'"
"""


@pytest.fixture
def harness(tmp_path: Path) -> Harness:
    return build(CONF, tmp_path)


def b64(value: Any) -> str:
    return base64.b64encode(json.dumps(value).encode()).decode()


def ask(speaker: Speaker, command: str, **request: Any) -> Any:
    reply = next(one for one in speaker.say({"id": 7, command: request}) if one.get("id") == 7)
    return error(reply) if "error" in reply else reply[command]


def test_a_token_says_who_the_client_is(harness: Harness) -> None:
    speaker = Speaker(harness)
    reply = speaker.connect(token=signed())["connect"]
    assert (reply["expires"], reply["ttl"]) == (True, 3570)
    assert ask(speaker, "rpc", data={}) == {"data": {"user": "ann"}}


def test_a_token_may_come_with_the_request(harness: Harness) -> None:
    speaker = Speaker(harness, headers={"Authorization": f"Bearer {signed()}"})
    assert "connect" in speaker.connect()


@pytest.mark.parametrize(
    ("token", "reason", "end"),
    [
        ("", "A token is needed here.", 3500),
        ("x", "This is not a JSON Web Token.", 3500),
        ("x y", "This is not a token.", 3500),
        (signed(exp=NOW - 1), "The token has expired.", 3005),
        (signed(channel="private"), "The token is for a channel, and not for a connection.", 3500),
        (signed(channels="all"), "The claim channels of the token is not what it should be.", 3500),
        (signed(channels=["a*b"]), "The token names a channel that cannot exist.", 3500),
        (signed(expire_at="soon"), "The claim expire_at of the token is not what it should be.", 3500),
    ],
)
def test_tokens_that_are_refused(
    harness: Harness, caplog: pytest.LogCaptureFixture, token: str, reason: str, end: int
) -> None:
    caplog.set_level(logging.DEBUG)
    speaker = Speaker(harness)
    reply = speaker.connect(token=token)
    # SDKs give up because of the code of the end. About an expired token they have to be told before.
    assert reply == {} if end == 3500 else error(reply)[0] == 109
    assert speaker.end is not None
    assert speaker.end[0] == end
    logged = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("fws"))
    assert reason in logged
    assert harness.channels.channels() == []
    assert len(token) < 2 or token not in logged


def test_a_token_that_expires_ends_the_connection_so_that_sdks_get_a_new_one(harness: Harness) -> None:
    """Fault: it ended with 3500, at which SDKs give up."""
    speaker = Speaker(harness)
    speaker.connect(token=signed(exp=NOW + 10))
    harness.pass_time(11)
    assert speaker.end == (3005, "connection expired")
    assert harness.counted("logins_expired") == {"": 1}


@pytest.mark.parametrize(
    ("claims", "expires", "ttl"),
    [
        ({"exp": NOW + 100}, True, 70),
        ({"exp": NOW + 20}, True, 10),
        ({"exp": NOW + 100, "expire_at": NOW + 1000}, True, 970),
        ({"exp": NOW + 100, "expire_at": 0}, False, 0),
        ({"exp": NOW + 1}, True, 1),
    ],
)
def test_when_a_client_should_renew_its_token(
    harness: Harness, claims: dict[str, Any], expires: bool, ttl: int
) -> None:
    reply = Speaker(harness).connect(token=signed(**claims))["connect"]
    assert (reply.get("expires", False), reply.get("ttl", 0)) == (expires, ttl)


def test_what_a_token_gives(harness: Harness) -> None:
    speaker = Speaker(harness)
    subs = {"private": {"info": {"role": "owner"}, "data": {"welcome": 1}}, "other": {"b64data": b64([1])}}
    reply = speaker.connect(token=signed(info={"name": "Ann"}, subs=subs, channels=["unused"]))["connect"]
    assert set(reply["subs"]) == {"all", "private", "other"}
    assert reply["subs"]["private"]["data"] == {"welcome": 1}
    assert reply["subs"]["other"]["data"] == [1]
    present = ask(speaker, "presence", channel="private")["presence"][speaker.client.id]
    assert present["conn_info"] == {"name": "Ann"}
    assert present["chan_info"] == {"role": "owner"}


def test_channels_of_a_token(harness: Harness) -> None:
    speaker = Speaker(harness)
    reply = speaker.connect(token=signed(channels=["a", "b"], b64info=b64("hi")))["connect"]
    assert set(reply["subs"]) == {"all", "a", "b"}
    assert ask(speaker, "presence", channel="all")["presence"][speaker.client.id]["conn_info"] == "hi"


# A new token of the connection.


def test_refresh(harness: Harness) -> None:
    speaker = Speaker(harness)
    speaker.connect(token=signed(exp=NOW + 100))
    harness.pass_time(90)
    reply = ask(speaker, "refresh", token=signed(exp=NOW + 1090))
    assert (reply["client"], reply["expires"], reply["ttl"]) == (speaker.client.id, True, 970)
    harness.pass_time(20)
    assert speaker.end is None
    harness.pass_time(1000)
    assert speaker.end == (3005, "connection expired")


@pytest.mark.parametrize(
    ("token", "end"),
    [
        ("x", 3500),
        (signed(exp=NOW - 1), 3005),
        (signed(sub="bob"), 3500),
        (signed(channel="private"), 3500),
        (signed(info=1, channels=5), 3500),
    ],
)
def test_a_refresh_that_is_refused_ends_the_connection(harness: Harness, token: str, end: int) -> None:
    speaker = Speaker(harness)
    speaker.connect(token=signed(exp=NOW + 100))
    assert speaker.say({"id": 8, "refresh": {"token": token}}) == []
    assert speaker.end is not None
    assert speaker.end[0] == end


def test_a_refresh_without_tokens(tmp_path: Path) -> None:
    harness = build('[endpoints."/"]\nprotocol = "centrifuge"', tmp_path)
    assert ask(connected(harness), "refresh", token="x") == (108, "not available")


def test_a_new_token_may_take_channels_away(harness: Harness) -> None:
    speaker = Speaker(harness)
    speaker.connect(token=signed(role="editor"))
    assert ask(speaker, "subscribe", channel="editors") == {}
    *pushes, reply = speaker.say({"id": 8, "refresh": {"token": signed(role="reader")}})
    assert [one["push"]["unsubscribe"]["code"] for one in pushes] == [2000]
    assert "refresh" in reply


def test_a_token_that_is_accepted_a_single_time(tmp_path: Path) -> None:
    """SDKs keep their token for the next connection, and ask for a new one when it has expired."""
    conf = CONF.replace("required=channel", "required=channel,exp").replace(SECRET, f"{SECRET} once=true")
    harness = build(conf, tmp_path)
    first, second = signed(exp=NOW + 100), signed(exp=NOW + 200)
    speaker = Speaker(harness)
    speaker.connect(token=first)
    for token in (first, second, second):
        assert "ttl" in ask(speaker, "refresh", token=token), "the present one is no second use"
    for token in (first, second):
        assert error(Speaker(harness).connect(token=token)) == (109, "token expired")
    other = Speaker(harness, "/tokens")
    other.connect(token=signed(exp=NOW + 300))
    token = channel_token(exp=NOW + 300)
    assert "ttl" in ask(other, "subscribe", channel="private", token=token)
    assert ask(other, "unsubscribe", channel="private") == {}
    assert ask(other, "subscribe", channel="private", token=token) == (109, "token expired")


# Tokens of channels.


def channel_token(**claims: Any) -> str:
    return signed(**({"channel": "private"} | claims))


def test_a_token_of_a_channel(harness: Harness) -> None:
    speaker = Speaker(harness, "/tokens")
    speaker.connect(token=signed(exp=NOW + 10_000))
    token = channel_token(info={"seat": 1}, data={"hello": 2}, client=speaker.client.id, exp=NOW + 100)
    result = ask(speaker, "subscribe", channel="private", token=token)
    assert result == {"expires": True, "ttl": 70, "data": {"hello": 2}}
    push, _ = speaker.say({"id": 9, "publish": {"channel": "private", "data": 1}})
    assert push["push"]["pub"]["info"]["chan_info"] == {"seat": 1}
    harness.pass_time(101)
    assert speaker.heard() == [
        {"push": {"channel": "private", "unsubscribe": {"code": 2501, "reason": "the token has expired"}}}
    ]
    assert ask(speaker, "subscribe", channel="private", token=channel_token(exp=NOW + 300))["ttl"] == 169


@pytest.mark.parametrize(
    ("token", "code"),
    [
        ("", 103),
        ("x", 103),
        (channel_token(channel="other"), 103),
        (channel_token(sub="bob"), 103),
        (channel_token(client="other"), 103),
        (channel_token(exp=NOW - 1), 109),
        (signed(), 103),
    ],
)
def test_tokens_of_channels_that_are_refused(harness: Harness, token: str, code: int) -> None:
    speaker = Speaker(harness, "/tokens")
    speaker.connect(token=signed())
    assert ask(speaker, "subscribe", channel="private", token=token)[0] == code
    assert speaker.client.channels == set()


def test_sub_refresh(harness: Harness) -> None:
    speaker = Speaker(harness, "/tokens")
    speaker.connect(token=signed(exp=NOW + 10_000))
    ask(speaker, "subscribe", channel="private", token=channel_token(exp=NOW + 100))
    assert ask(speaker, "sub_refresh", channel="private", token=channel_token(exp=NOW - 1))[0] == 109
    harness.pass_time(90)
    assert ask(speaker, "sub_refresh", channel="private", token=channel_token(exp=NOW + 500))["ttl"] == 380
    harness.pass_time(300)
    assert speaker.heard() == []
    harness.pass_time(200)
    assert speaker.heard()[0]["push"]["unsubscribe"]["code"] == 2501
    assert ask(speaker, "sub_refresh", channel="private", token=channel_token())[0] == 103
    assert ask(speaker, "sub_refresh", channel="private", token=channel_token(), type=1)[0] == 108


def test_a_subscription_that_ends_while_its_token_is_checked(tmp_path: Path) -> None:
    """Fault: the client was told that it has the channel."""
    rest = """
import gevent
from fws import Filter


class Rest(Filter):
    gates = []

    def subscribe(self, client, channel):
        if client.call.token == "second":
            self.gates.append(gate := gevent.event.Event())
            gate.wait(5)
"""
    conf = """[endpoints."/"]
protocol = "centrifuge"
subscribe = ["rest"]
[channels."a"]
subscribe = "channel != ''"
"""
    harness = build(conf, tmp_path, pipelines={"rest": rest})
    speaker = connected(harness)
    ask(speaker, "subscribe", channel="a", token="first")
    harness.arrive_now(speaker.client, json.dumps({"id": 8, "sub_refresh": {"channel": "a", "token": "second"}}))
    speaker.client.withdraw("a", "why")
    instance: Any = next(step.instance for step in speaker.client.endpoint.subscribe.walk())
    (gate,) = instance.gates
    gate.set()
    push, reply = speaker.heard()
    assert push["push"]["unsubscribe"] == {"code": 2000, "reason": "why"}
    assert error(reply) == (103, "permission denied")


# Claims that are not what they should be.

ODD = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters() | st.sampled_from("\ud83d\udc00"), max_size=8)
    | st.just(b64({"a": 1}))
    | st.just("%%%")
    | st.just(base64.b64encode(b"[" * 3000).decode()),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.just("info"), inner, max_size=3)
    ),
    max_leaves=8,
)
NAMES = ("exp", "expire_at", "info", "b64info", "data", "b64data", "channels", "subs")


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(NAMES), ODD))
def test_hostile_claims(claims: dict[str, Any]) -> None:
    try:
        grant = Grant.of(claims, 30.0)
    except Denied as denied:
        assert denied.cause == "claims"
        return
    assert grant.end is None or 0 < grant.end < 2**53
    assert grant.ttl(NOW) >= 1
    for one in (grant, *grant.channels.values()):
        assert len(json.dumps(one.info)) <= 12 * MAX_INFO


def test_claims_that_json_cannot_carry(harness: Harness) -> None:
    """Fault: they failed as an error of the server, with a traceback."""
    for info in ("\ud83d", {"a": ["\ud83d"]}):
        token = pyjwt.encode({"sub": "ann", "exp": NOW + 60, "info": info}, SECRET, "HS256")
        speaker = Speaker(harness)
        assert speaker.connect(token=token) == {}
        assert speaker.end is not None
        assert speaker.end[0] == 3500
    assert harness.faults == 0


def test_what_is_too_large_to_be_shown_is_not_shown() -> None:
    assert Grant.of({"info": "x" * (MAX_INFO - 2)}, 0).info is not None
    assert Grant.of({"info": "x" * (MAX_INFO - 1)}, 0).info is None


def test_a_second_refresh_at_once_is_answered(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fault: while the keys were being fetched for one token, a second one got no answer at all."""
    speaker = Speaker(harness)
    speaker.connect(token=signed())
    monkeypatch.setattr(Jwt, "waits", True)
    replies = speaker.say(*({"id": id, "refresh": {"token": signed()}} for id in (2, 3)))
    found = {one["id"]: one for one in replies}
    assert "refresh" in found[2]
    assert error(found[3]) == (111, "Another new token is being verified.")
