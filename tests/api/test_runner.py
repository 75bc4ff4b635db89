"""Every method with its request and result, errors, batches, and what a key permits."""

from __future__ import annotations

import logging
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fws.api.keys import Key
from fws.api.methods import METHODS
from fws.api.runner import Runner, Stream
from fws.base.decoding import MAX_CONTAINERS, MAX_DEPTH
from fws.base.errors import Refusal
from fws.base.metrics import Metrics
from tests.api.fake import FakeCommands, FakeOperator
from tests.support import Clock

EVERYTHING = Key("[api]", "k" * 32, admin=True)


class Bench:
    """A caller with commands in memory."""

    def __init__(self) -> None:
        self.commands = FakeCommands()
        self.operator = FakeOperator()
        self.metrics = Metrics()
        self.reports: list[tuple[str, BaseException]] = []
        self.caller = Runner(
            self.commands,
            self.operator,
            self.metrics,
            Clock(),
            lambda what, error: self.reports.append((what, error)),
        )

    def call(self, name: str, request: Any, key: Key = EVERYTHING) -> Any:
        """The reply as its caller gets it."""
        reply = self.caller.call(key, name, msgspec.json.encode(request))
        if isinstance(reply, Stream):
            events = [*reply]
            reply.close()
            return {"events": events}
        return plain(reply)

    def error(self, name: str, request: Any) -> tuple[int, str]:
        error = self.call(name, request)["error"]
        return error["code"], error["message"]


def plain(reply: Any) -> Any:
    return msgspec.json.decode(msgspec.json.encode(reply))


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_a_publication_has_its_position_if_the_channel_has_history(bench: Bench) -> None:
    assert bench.call("publish", {"channel": "news", "data": {"a": [1]}}) == {"result": {}}
    assert bench.call("publish", {"channel": "kept:a", "data": None}) == {"result": {"offset": 1, "epoch": "e1"}}
    assert bench.commands.asked == [("publish", "news", {"a": [1]}), ("publish", "kept:a", None)]


@pytest.mark.parametrize("data", [None, 0, False, "", "text", [], {}, {"a": {"b": [1.5, "ü", None]}}])
def test_a_message_is_any_json(bench: Bench, data: Any) -> None:
    bench.call("publish", {"channel": "news", "data": data})
    assert bench.commands.asked == [("publish", "news", data)]


def test_a_binary_message_arrives_as_bytes_and_comes_back_as_base64(bench: Bench) -> None:
    bench.call("publish", {"channel": "kept:a", "b64data": "AAH/"})
    assert bench.commands.asked == [("publish", "kept:a", b"\x00\x01\xff")]
    result = bench.call("history", {"channel": "kept:a", "limit": -1})["result"]
    assert result["publications"] == [{"data": None, "offset": 1, "b64data": "AAH/"}]


def test_a_key_that_is_sent_again_publishes_once(bench: Bench) -> None:
    request = {"channel": "kept:a", "data": 1, "idempotency_key": "x"}
    assert bench.call("publish", request) == bench.call("publish", request)
    assert bench.call("history", {"channel": "kept:a"})["result"] == {"publications": [], "epoch": "e1", "offset": 1}


def test_what_is_not_for_the_history(bench: Bench) -> None:
    assert bench.call("publish", {"channel": "kept:a", "data": 1, "skip_history": True}) == {"result": {}}


def test_a_broadcast_has_a_reply_for_each_channel(bench: Bench) -> None:
    reply = bench.call("broadcast", {"channels": ["news", "full", "kept:a"], "data": "x"})
    assert reply["result"]["responses"] == [
        {"result": {}},
        {"error": {"code": 108, "message": "not available"}},
        {"result": {"offset": 1, "epoch": "e1"}},
    ]


def test_histories_are_read_from_a_position_and_in_reverse(bench: Bench) -> None:
    for number in range(1, 5):
        bench.call("publish", {"channel": "kept:a", "data": number})

    def read(**more: Any) -> list[int]:
        result = bench.call("history", {"channel": "kept:a", **more})["result"]
        return [one["data"] for one in result["publications"]]

    assert read(limit=2) == [1, 2]
    assert read(limit=-1, since={"epoch": "e1", "offset": 2}) == [3, 4]
    assert read(limit=1, reverse=True) == [4]
    assert bench.error("history", {"channel": "kept:a", "since": {"epoch": "old"}})[0] == 112
    assert bench.call("history_remove", {"channel": "kept:a"}) == {"result": {}}
    assert read(limit=-1) == []


def test_presence(bench: Bench) -> None:
    assert bench.call("presence", {"channel": "seen:a"})["result"]["presence"] == {
        "c1": {"client": "c1", "user": "ann", "chan_info": {"name": "Ann"}},
        "c2": {"client": "c2"},
    }
    assert bench.call("presence_stats", {"channel": "seen:a"}) == {"result": {"num_clients": 2, "num_users": 1}}
    assert bench.error("presence", {"channel": "news"}) == (108, "not available")


def test_channels_and_nodes(bench: Bench) -> None:
    both = {"chat:tea": {"num_clients": 2}, "news": {"num_clients": 2}}
    assert bench.call("channels", {}) == {"result": {"channels": both}}
    assert bench.call("channels", {"pattern": "chat:*"})["result"]["channels"].keys() == {"chat:tea"}
    (node,) = bench.call("info", {})["result"]["nodes"]
    assert node == {"uid": "n1", "name": "host_9000", "version": "1.0", "num_clients": 3}


def test_what_is_done_to_users(bench: Bench) -> None:
    position = {"epoch": "e1", "offset": 7}
    bench.call("subscribe", {"user": "ann", "channel": "news", "client": "c", "recover_since": position})
    bench.call("unsubscribe", {"user": "ann", "channel": "news", "session": "s"})
    bench.call("disconnect", {"user": "ann", "whitelist": ["c"]})
    bench.call("disconnect", {"user": "ann", "disconnect": {"code": 4000, "reason": "bye"}})
    bench.call("refresh", {"user": "ann", "expired": True})
    bench.call("refresh", {"user": "ann", "expire_at": 1_900_000_000})
    subscribe, *others = bench.commands.asked
    assert subscribe[:5] == ("subscribe", "ann", "news", "c", "")
    assert str(subscribe[5]) == "e1:7"
    assert others == [
        ("unsubscribe", "ann", "news", "", "s"),
        ("disconnect", "ann", "", "", ["c"], 3503, "force disconnect"),
        ("disconnect", "ann", "", "", [], 4000, "bye"),
        ("refresh", "ann", "", "", True, 0),
        ("refresh", "ann", "", "", False, 1_900_000_000),
    ]


@pytest.mark.parametrize(
    ("name", "request_", "message"),
    [
        ("publish", {"data": 1}, "'channel' is missing: publish needs it"),
        ("publish", {"channel": "news"}, "'data' is missing: a publication needs a message"),
        ("publish", {"channel": "", "data": 1}, "channel: the name of a channel must be a text that is not empty"),
        ("publish", {"channel": "a*", "data": 1}, "channel: the name of a channel can have at most 200 bytes"),
        ("publish", {"channel": 7, "data": 1}, "channel: expected text, not 7"),
        ("publish", {"chanel": "news", "data": 1}, "unknown field 'chanel': did you mean 'channel'?"),
        ("publish", {"channel": "news", "data": 1, "tags": {"a": "b"}}, "'tags' is not supported: leave it out"),
        ("publish", {"channel": "news", "data": 1, "delta": True}, "'delta' is not supported: leave it out"),
        ("publish", {"channel": "news", "data": 1, "version": 3}, "'version' is not supported: leave it out"),
        ("publish", {"channel": "news", "b64data": "?"}, "b64data: this is not Base64"),
        ("publish", {"channel": "news", "data": 1, "skip_history": 1}, "skip_history: expected true or false, not 1"),
        ("publish", {"channel": "news", "data": 1, "idempotency_key": "x" * 201}, "idempotency_key: it can have"),
        ("publish", [], "publish takes an object, such as {}"),
        ("broadcast", {"channels": [], "data": 1}, "channels: a broadcast has 1 to 10000 channels"),
        ("broadcast", {"channels": ["ok", "a\n"], "data": 1}, "channels: the name of a channel can have"),
        ("broadcast", {"channels": "news", "data": 1}, "channels: expected list of text, not 'news'"),
        ("subscribe", {"user": "ann", "channel": "news", "info": {"a": 1}}, "'info' is not supported"),
        ("disconnect", {"user": "ann", "disconnect": {"code": 99}}, "disconnect: the code 99 may not be sent"),
        ("disconnect", {}, "'user' is missing: disconnect needs it"),
        ("history", {"channel": "kept:a", "since": {"offset": -1}}, "since: expected"),
        ("batch", {"commands": [{}] * 1001}, "commands: a batch has at most 1000 commands"),
    ],
)
def test_a_request_that_is_wrong(bench: Bench, name: str, request_: Any, message: str) -> None:
    code, text = bench.error(name, request_)
    assert code == 107
    assert text.startswith(message)
    assert bench.commands.asked == []


def test_what_libraries_send_for_nothing_is_ignored(bench: Bench) -> None:
    unset = {"tags": None, "delta": False, "version": 0, "b64data": None, "skip_history": None}
    assert bench.call("publish", {"channel": "news", "data": 1, **unset}) == {"result": {}}


def test_no_method(bench: Bench) -> None:
    assert bench.error("publsh", {}) == (104, "there is no method 'publsh': did you mean 'publish'?")


def test_an_empty_body_asks_for_the_defaults(bench: Bench) -> None:
    assert "result" in bench.caller.call(EVERYTHING, "info", b"")


def test_what_fails_inside_is_reported_and_not_shown(bench: Bench) -> None:
    assert bench.error("publish", {"channel": "broken:x", "data": 1}) == (100, "internal server error")
    assert bench.error("publish", {"channel": "broken:redis", "data": 1}) == (
        100,
        "internal server error: Redis is away",
    )
    assert [(what, str(error)) for what, error in bench.reports] == [
        ("api publish", "a bug"),
        ("api publish", "Redis is away"),
    ]
    assert bench.metrics["api_errors_100"] == 2
    assert bench.metrics["api_calls"] == 2


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"\xff",
        b'{"data": "\\ud83d"}',
        b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1),
        b"[" * 100_000,
        b'{"commands":[' + b"[]," * MAX_CONTAINERS + b"[]]}",
    ],
)
def test_a_body_that_is_not_json_or_too_much_of_it(bench: Bench, body: bytes) -> None:
    with pytest.raises(ValueError, match=r"this .*JSON"):
        bench.caller.call(EVERYTHING, "publish", body)


class TestOperators:
    def test_every_stage_with_its_branches(self, bench: Bench) -> None:
        result = bench.call("stages", {"seconds": 0.5})["result"]
        (pipeline,) = result["pipelines"]
        (stage,) = pipeline["stages"]
        assert (result["in"], pipeline["event"], stage["stage"]) == (1.5, "message", "message/by")
        assert stage["branches"][0]["stages"][0]["stage"] == "message/echo"
        for seconds in (0, 11, "soon"):
            assert bench.error("stages", {"seconds": seconds})[0] == 107

    def test_clients_by_page(self, bench: Bench) -> None:
        result = bench.call("clients", {"user": "ann", "limit": 2, "offset": 4})["result"]
        assert (result["total"], [one["client"] for one in result["clients"]]) == (7, ["c4", "c5"])
        assert bench.operator.asked == [("clients", 6, {"user": "ann"})]
        for wrong in ({"limit": 501}, {"offset": 9501}, {"limit": -1}, {"address": 7}):
            assert bench.error("clients", wrong)[0] == 107

    def test_bans(self, bench: Bench) -> None:
        bench.call("ban", {"kind": "user", "name": "ann", "seconds": 60})
        bench.call("ban", {"kind": "address", "name": "192.0.2.1"})
        assert bench.call("unban", {"kind": "user", "name": "ann"}) == {"result": {"found": True}}
        assert bench.call("bans", {}) == {"result": {"bans": [{"kind": "user", "name": "ann", "until": 0.0}]}}
        assert bench.operator.asked == [
            ("ban", "user", "ann", 60.0),
            ("ban", "address", "192.0.2.1", None),
            ("unban", "user", "ann"),
        ]
        for wrong in ({"kind": "room", "name": "a"}, {"kind": "user", "name": ""}, {"kind": "user"}):
            assert bench.error("ban", wrong)[0] == 107

    def test_reloads_and_what_is_in_force(self, bench: Bench) -> None:
        assert bench.call("reload", {"dry_run": True, "skip_tests": True})["result"]["status"] == "unchanged"
        assert bench.operator.asked == [("reload", True, False)]
        assert bench.call("generation", {})["result"]["last"]["lines"] == ["~ message json"]
        assert bench.call("nodes", {})["result"]["workers"][0]["pid"] == 7
        (fault,) = bench.call("faults", {})["result"]["faults"]
        assert (fault["count"], "cause" in fault) == (2, False)

    def test_a_tap_streams(self, bench: Bench) -> None:
        """A comment stands for nothing, so that whoever has gone is noticed. Text of clients is JSON on one line."""
        assert bench.call("tap", {})["events"] == [
            b'data: {"tapping":1,"generation":1}\n\n',
            b": nothing has passed\n\n",
            b'data: {"at":1.0,"stage":"message/echo","outcome":"pass","in":"<b>"}\n\n',
        ]
        assert not bench.operator.tapped
        assert bench.error("tap", {"stage": "broken"}) == (108, "there are 10 taps already")
        reply = bench.call("batch", {"commands": [{"tap": {}}]})["replies"][0]
        assert (reply["error"]["code"], bench.operator.tapped) == (107, False)

    def test_the_log_says_who_did_something(self, bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO)
        bench.call("reload", {})
        bench.call("nodes", {})
        bench.call("disconnect", {"user": "ann", "whitelist": ["a"]})
        bench.call("ban", {"kind": "user", "name": "ann", "seconds": 60})
        assert caplog.messages == [
            "reload with the key [api]",
            "disconnect with the key [api]: user ann",
            "ban with the key [api]: kind user, name ann, seconds 60.0",
        ]

    def test_a_key_says_what_it_permits(self, bench: Bench) -> None:
        result = bench.call("key", {}, Key("viewer", "v", read=True))["result"]
        assert (result["name"], "stages" in result["methods"], "ban" in result["methods"]) == ("viewer", True, False)


class TestBatch:
    def test_replies_are_in_the_order_of_the_commands(self, bench: Bench) -> None:
        commands = [
            {"publish": {"channel": "kept:a", "data": 1}},
            {"presence": {"channel": "news"}},
            {"nothing": {}},
            {"publish": {}},
            {"batch": {"commands": []}},
            {},
            {"history": {"channel": "kept:a", "limit": 1}},
        ]
        for parallel in (False, True):
            replies = bench.call("batch", {"commands": commands, "parallel": parallel})["replies"]
            assert [*replies[0], *replies[-1]] == ["publish", "history"]
            assert [reply["error"]["code"] for reply in replies[1:6]] == [108, 104, 107, 107, 107]

    def test_nothing_is_done_unless_all_of_it_is_permitted(self, bench: Bench) -> None:
        key = Key("shop", "s", publish=["orders:*"])
        commands = [
            {"publish": {"channel": "orders:7", "data": 1}},
            {"publish": {"channel": "news", "data": 1}},
        ]
        with pytest.raises(Refusal, match="403 The key shop may not publish to 'news'"):
            bench.call("batch", {"commands": commands}, key)
        assert bench.commands.asked == []
        assert bench.call("batch", {"commands": commands[:1]}, key) == {"replies": [{"publish": {}}]}

    def test_the_older_form_has_a_command_in_each_line(self, bench: Bench) -> None:
        body = b'{"method":"publish","params":{"channel":"kept:a","data":1}}\n\n{"method":"info"}\n{"method":"x"}'
        replies = plain(bench.caller.lines(EVERYTHING, body))
        assert replies[0] == {"result": {"offset": 1, "epoch": "e1"}}
        assert "nodes" in replies[1]["result"]
        assert replies[2]["error"]["code"] == 104
        for wrong in (b"", b"[]", b"{}", b"{", b'{"method":7}', b'{"method":"info"}\n' * 1001):
            with pytest.raises(ValueError, match=r"expected|JSON"):
                bench.caller.lines(EVERYTHING, wrong)


ANY = {"key", "batch"}
READ = {"presence", "presence_stats", "history", "channels", "info", "stages", "generation", "nodes"}


class TestPermissions:
    """One further key for each permission, and every method."""

    REQUESTS = {
        "publish": {"channel": "orders:7", "data": 1},
        "broadcast": {"channels": ["orders:7", "news"], "data": 1},
        "subscribe": {"user": "ann", "channel": "news"},
        "unsubscribe": {"user": "ann", "channel": "news"},
        "disconnect": {"user": "ann"},
        "refresh": {"user": "ann"},
        "presence": {"channel": "seen:a"},
        "presence_stats": {"channel": "seen:a"},
        "history": {"channel": "kept:a"},
        "history_remove": {"channel": "kept:a"},
        "channels": {},
        "info": {},
        "stages": {},
        "generation": {},
        "nodes": {},
        "faults": {},
        "clients": {},
        "ban": {"kind": "user", "name": "ann"},
        "unban": {"kind": "user", "name": "ann"},
        "bans": {},
        "reload": {},
        "tap": {},
        "key": {},
        "batch": {"commands": []},
    }

    @pytest.mark.parametrize(
        ("key", "permitted"),
        [
            (Key("a", "a", publish=["orders:{id}", "news"]), {"publish", "broadcast", *ANY}),
            (Key("a", "a", publish=["orders:*"]), {"publish", *ANY}),
            (Key("a", "a", publish=["order:*", "news"]), ANY),
            (Key("a", "a", read=True), {*READ, *ANY}),
            (Key("a", "a", admin=True), set(REQUESTS)),
        ],
    )
    def test_a_key_permits_what_its_table_says(self, bench: Bench, key: Key, permitted: set[str]) -> None:
        assert self.REQUESTS.keys() == {method.name for method in METHODS}
        for name, request in self.REQUESTS.items():
            if name in permitted:
                assert "error" not in bench.call(name, request, key), name
            else:
                with pytest.raises(Refusal) as caught:
                    bench.call(name, request, key)
                assert caught.value.status == 403
        assert permitted != ANY or bench.commands.asked == []


def test_an_error_has_a_line_in_the_log_with_the_name_of_the_key(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    for _ in range(3):
        bench.error("presence", {"channel": "news"})
    assert caplog.messages == ["presence with the key [api]: 108 not available"]
    assert bench.metrics["api_errors_108"] == 3


@given(
    st.binary()
    | st.recursive(
        st.none() | st.booleans() | st.text() | st.integers(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(
                    ["channel", "channels", "data", "user", "commands", "publish", "since", "disconnect", "limit"]
                ),
                inner,
            )
        ),
    ).map(msgspec.json.encode)
)
def test_no_body_raises_anything_unexpected(body: bytes) -> None:
    caller = Bench().caller
    for method in METHODS:
        try:
            reply = caller.call(EVERYTHING, method.name, body)
        except ValueError:
            continue
        if isinstance(reply, Stream):
            continue
        assert reply.keys() <= {"result", "error", "replies"}
