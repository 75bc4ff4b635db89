"""Transcripts on simulated servers: what passes, and what a failure says."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from fws.base.errors import ConfigError
from fws.testing import play
from fws.testing.report import line_of
from fws.testing.suite import Result, Suite

CHAT = """
[pipelines]
connect = ["join lobby"]
message = ["rate_limit 3/s", "json on_error=reply", "by_type"]
[filters.by_type]
use = "switch"
key = "type"
default = ['reply {"error":"unknown"}']
[filters.by_type.case]
chat = ["when len(text) < 5", "set at={time} from={id}", "broadcast lobby to=others"]
bye = ["close 4001 bye"]
"""


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    file = tmp_path / "app.toml"
    file.write_text(CHAT)
    return file


def failure(conf: Path, script: str) -> str:
    """What `play` says about a transcript that fails."""
    with pytest.raises(AssertionError) as failed:
        play(conf, script)
    return str(failed.value)


def test_a_conversation_as_it_should_be(conf: Path) -> None:
    play(
        conf,
        """
        ann> connect /
        bob> connect /?x=1
        ann> {"type":"chat","text":"hi"}
        bob< {"type":"chat","text":"hi","from":"ann","at":"2026-01-01T00:00:00.000Z"}
        ann< nothing
        wait 1500ms
        ann> {"type":"chat","text":"hi"} x4
        bob< {"at":"2026-01-01T00:00:01.500Z", …} x3
             drop message/rate_limit
        wait 1s
        ann> nonsense
        ann< {"error":…}
             drop message/json
        pub lobby from elsewhere
        ann< from elsewhere
        bob< from …
        bob> {"type":"bye"}
        bob< close 4001 bye
             close message/by_type/case.bye/close
        bob> connect /
        bob> close 1000
        """,
    )


def test_a_wrong_message_names_the_stage_that_sent_it_and_the_difference(conf: Path) -> None:
    text = failure(conf, 'ann> connect /\nbob> connect /\nann> {"type":"chat","text":"hi"}\nbob< {"text":"ho", …}')
    assert '3 | ann> {"type":"chat","text":"hi"}' in text
    assert '4 | bob< {"text":"ho", …}' in text
    assert 'expected bob to receive {"text":"ho", …}' in text
    assert 'got      {"type":"chat","text":"hi"' in text
    assert "by       * message/by_type/case.chat/broadcast" in text
    assert 'because  text: "hi" instead of "ho"' in text


def test_a_missing_message_names_the_stage_that_dropped_it_and_its_condition(conf: Path) -> None:
    text = failure(conf, 'ann> connect /\nbob> connect /\nann> {"type":"chat","text":"too long"}\nbob< …')
    assert "got      nothing" in text
    assert f"by       * message/by_type/case.chat/when   {conf}:10" in text
    assert 'because  len(text) < 5 is false: text = "too long"' in text


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("ann> {}", 'nothing else for ann\n          got      {"error":"unknown"}'),
        ('ann> {}\nann< {"error":"unknown"} x2', "(2 of 2)"),
        ('ann> {"type":"bye"}', "nothing else for ann\n          got      close 4001 bye"),
        ('ann> {"type":"bye"}\nann< close 4002', "ann to receive close 4002\n          got      close 4001 bye"),
        ('ann> {"type":"bye"}\nann< …', "ann to receive …\n          got      close 4001 bye"),
        ("ann> {}\nann< nothing", 'nothing for ann\n          got      {"error":"unknown"}'),
        ("ann> {}\nann< …\n  drop message/json", "drop at message/json\n          got      pass at message/json"),
        ("ann> a x5\nann< … x3\n  drop message/rate_limit", "drop at message/rate_limit\n          got      2 times"),
        ("eve> connect /\neve< refuse 404 …", "eve to receive refuse 404 …\n          got      nothing"),
        ("wait 1s\n  drop", "drop\n          got      no such stage was reached"),
    ],
)
def test_what_is_not_written_fails(conf: Path, lines: str, expected: str) -> None:
    assert expected in failure(conf, f"ann> connect /\n{lines}")


def test_an_error_of_a_filter_fails_unless_it_is_expected(conf: Path) -> None:
    (conf.parent / "pipelines").mkdir()
    (conf.parent / "pipelines" / "bad.py").write_text(
        "from fws import Filter\nclass Bad(Filter):\n    def message(self, client, message):\n        return 1 / 0\n"
    )
    conf.write_text('[pipelines]\nmessage = ["bad"]')
    text = failure(conf, "ann> connect /\nann> hello")
    assert "expected no error" in text
    assert "by       * message/bad" in text
    assert "ZeroDivisionError" in text
    play(conf, "ann> connect /\nann> hello\n     error message/bad")


def test_an_error_outside_of_stages_fails(conf: Path) -> None:
    (conf.parent / "pipelines").mkdir()
    (conf.parent / "pipelines" / "late.py").write_text(
        "from fws import Filter\nclass Late(Filter):\n"
        "    def connect(self, client):\n        client.defer(lambda: 1 / 0)\n"
    )
    conf.write_text('[pipelines]\nconnect = ["late"]')
    assert "defer failed in" in failure(conf, "ann> connect /\nann> close")


def test_a_line_of_the_filter_log_is_no_error(conf: Path) -> None:
    """Every transcript of a pipeline with `log level=error` failed."""
    conf.write_text('[pipelines]\nmessage = ["log level=error", "echo"]')
    play(conf, "ann> connect /\nann> a\nann< a")


def test_clients_on_two_nodes(conf: Path) -> None:
    play(
        conf,
        """
        ann@a> connect /
        bob@b> connect /
        ann> {"type":"chat","text":"hi"}
        bob< {"text":"hi", …}
        pub lobby outside
        ann< outside
        bob< outside
        """,
    )


def test_other_applications_channels_reach_a_publication_pipeline(conf: Path) -> None:
    (conf.parent / "pipelines").mkdir()
    (conf.parent / "pipelines" / "forward.py").write_text(
        "from fws import Filter\nclass Forward(Filter):\n    def publication(self, publication):\n"
        "        if publication.channel != 'all':\n            self.hub.publish('all', publication.message)\n"
    )
    conf.write_text('[redis]\nsubscribe = ["orders.*"]\n[pipelines]\nconnect = ["join all"]\npublication = ["forward"]')
    play(conf, "ann> connect /\npub orders.new 17\nann< 17\npub news x\n")


def test_time_passes_for_rates_pings_and_timers(conf: Path) -> None:
    conf.write_text('[limits]\nidle_timeout = "10s"\nping_interval = "2s"\n[pipelines]\nmessage = ["echo"]')
    play(conf, "ann> connect /\nwait 9s\nann> hi\nann< hi\nwait 9s\nwait 2s\nann< close 1008 …")


def test_tokens_are_made_for_a_user(conf: Path) -> None:
    conf.write_text(
        '[endpoints."/jwt"]\nconnect = ["jwt HS256 ${KEY}", "require identity.role == \'admin\'"]\n'
        'message = ["reply {identity.user}"]\n[endpoints."/token"]\nconnect = ["token ${TOKEN}"]\n'
        '[endpoints."/open"]\n'
    )
    environ = {"KEY": "k" * 32, "TOKEN": "ann:s3cret-s3cret"}
    play(
        conf,
        """
        ann> connect /jwt user=ann claims={"role":"admin"}
        ann> who
        ann< ann
        bob> connect /jwt user=bob
        bob< refuse 403 …
             refuse connect/require
        eve> connect /jwt
        wait 1m
        eve< close 4401 …
        tim> connect /token token=s3cret-s3cret
        tom> connect /token token=wrong
        tom< refuse 401
        """,
        environ,
    )
    with pytest.raises(AssertionError, match="nothing asks for a token at /open"):
        play(conf, "ann> connect /open user=ann", environ)


def test_pages_of_other_sites_are_refused_as_by_the_server(conf: Path) -> None:
    conf.write_text(
        '[server]\norigins = ["https://good.example"]\nsubprotocols = ["v1"]\n[pipelines]\nmessage = ["echo"]'
    )
    play(
        conf,
        """
        ann> connect / origin=https://good.example subprotocol=v1
        eve> connect / origin=https://evil.example
        eve< refuse 403 …
        """,
    )


def test_filters_that_block_are_waited_for(conf: Path) -> None:
    (conf.parent / "pipelines").mkdir()
    (conf.parent / "pipelines" / "slow.py").write_text(
        "import gevent\nfrom fws import Filter\nclass Slow(Filter):\n"
        "    def message(self, client, message):\n        gevent.sleep(0.01)\n        return message * 2\n"
    )
    conf.write_text('[pipelines]\nmessage = ["slow", "echo"]')
    play(conf, "ann> connect /\nann> ab\nann< abab")


def test_clients_that_answer_one_another_for_ever_are_noticed(conf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fws.testing.simulation.MAX_TURNS", 200)
    (conf.parent / "pipelines").mkdir()
    (conf.parent / "pipelines" / "loop.py").write_text(
        "from fws import Filter\nclass Loop(Filter):\n    waits = False\n"
        "    def message(self, client, message):\n        self.services.later(lambda: self.message(client, message))\n"
    )
    conf.write_text('[pipelines]\nmessage = ["loop"]')
    assert "do not come to rest" in failure(conf, "ann> connect /\nann> go")


def test_a_filter_that_cannot_start_is_the_reason(conf: Path) -> None:
    (conf.parent / "pipelines").mkdir()
    (conf.parent / "pipelines" / "broken.py").write_text(
        "from fws import Filter\nclass Broken(Filter):\n    def start(self):\n        raise OSError('no device')\n"
        "    def message(self, client, message): pass\n"
    )
    conf.write_text('[pipelines]\nmessage = ["broken"]')
    assert "a filter failed to start: OSError: no device" in failure(conf, "ann> connect /")


def test_a_mistake_in_a_script_is_a_problem_with_its_line(conf: Path) -> None:
    with pytest.raises(ConfigError, match=r"script:2:1: 'hello' is not a statement"):
        play(conf, "ann> connect /\nhello")


def test_tests_do_not_share_state_and_their_variables_are_their_own(conf: Path) -> None:
    conf.write_text(
        '[pipelines]\nmessage = ["rate_limit 1/s", "reply ${WORD:-none}"]\n'
        + "".join(
            f"[[test]]\nname = \"{name}\"\n{env}script = '''\nann> connect /\nann> a\nann< {answer}\n'''\n"
            for name, env, answer in (("one", "", "none"), ("two", "", "none"), ("three", 'env = {WORD = "x"}\n', "x"))
        )
    )
    assert [result.failure for result in Suite(conf, {}).run()] == [None, None, None]


def test_passing_tests_write_nothing_to_the_log(conf: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    play(conf, "ann> connect / X-Long=" + "x" * 70_000 + "\nann< refuse 431 …")
    assert caplog.messages == []


def test_a_failing_test_is_placed_in_its_file(conf: Path) -> None:
    tests = conf.with_name("app_test.toml")
    tests.write_text("[[test]]\nname = \"t\"\nscript = '''\nann> connect /\nann> {}\n'''\n")
    result: Result = next(Suite(tests).run())
    assert line_of(result).splitlines()[0].endswith(f"{tests}:5")


def test_a_conversation_in_the_protocol_centrifuge(conf: Path) -> None:
    """Pings are answered as SDKs do, and do not show up."""
    conf.write_text("""
[endpoints."/c"]
protocol = "centrifuge"
connect = ["join lobby"]
message = ["rate_limit 1/s on_excess=reply"]
[channels."lobby"]
publish = "channel != ''"
""")
    play(
        conf,
        """
        ann> connect /c
        ann> {"id":1,"connect":{}}
        ann< {"id":1,"connect":{"client":"ann","subs":{"lobby":{}}, ...}}
        ann> {"id":2,"publish":{"channel":"lobby","data":{"a":1}}}
        ann< {"push":{"channel":"lobby","pub":{"data":{"a":1}}}}
        ann< {"id":2,"publish":{}}
        ann> {"id":3,"publish":{"channel":"lobby","data":{"a":1}}}
             refuse message/rate_limit
        ann< {"id":3,"error":{"code":111,"message":"too fast","temporary":true}}
        wait 300s
        ann> {"id":4,"ping":{}}
        ann< {"id":4,"ping":{}}
        ann> hello
        ann< close 3501 ...
        """,
    )
