from __future__ import annotations

import contextlib
import json
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest

from fws.base.errors import ConfigError, Reject
from fws.clients.client import Client
from fws.filters.exec import Exec
from tests.support import Harness, build

Serving = Callable[..., Harness]


@pytest.fixture(autouse=True, scope="module")
def sigchld() -> Iterator[None]:
    """Afterwards the event loop leaves the children of other tests alone again."""
    yield
    gevent.get_hub().loop.reset_sigchld()


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Serving]:
    """`serving(options)` gives a server with `exec` and these options, and then `echo`. Its programs are ended."""
    made: list[Harness] = []

    def serve(options: str, *, connect: str = "", disconnect: str = "", before: str = "", tail: str = "") -> Harness:
        text = "\n".join(
            [
                f'[filters.program]\nuse = "exec"\n{options}',
                "[endpoints.'/{room}']",
                f"connect = [{connect}]",
                f"message = [{before}'program', 'echo']",
                f"disconnect = [{disconnect}]",
                tail,
            ]
        )
        server = build(text, tmp_path)
        made.append(server)
        return server

    yield serve
    for server in made:
        assert server.generation.stop() == []


def shell(script: str, *options: str) -> str:
    """The options of a stage that runs a script."""
    return "\n".join([f"command = {json.dumps(script)}", "shell = true", *options])


def until(server: Harness, holds: Callable[[], bool]) -> None:
    """Let programs work until something holds."""
    end = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < end, "it does not happen"
        gevent.sleep(0.005)
        server.turn()


def says(server: Harness, client: Client, *messages: str | bytes) -> list[Any]:
    """What a client gets for messages, once all of them have been served."""
    server.client_says(client, *messages)
    until(server, lambda: not client.busy and not server.peers[client].wire.unread)
    return server.sent(client)


ECHO = 'while read -r line; do echo "$line"; done'


@pytest.mark.parametrize("per", ["server", "client"])
def test_one_line_in_and_one_line_out(per: str, serving: Serving) -> None:
    server = serving(shell('while read -r x; do echo "<$x>"; done', f'per = "{per}"'))
    ann, bob = server.connect("/a"), server.connect("/a")
    assert says(server, ann, "one", "two") == ["<one>", "<two>"]
    assert says(server, bob, "three") == ["<three>"]
    assert server.metrics["program_starts"] == (1 if per == "server" else 2)


def test_a_process_for_each_message_reads_and_writes_all_of_it(serving: Serving) -> None:
    server = serving('command = "sort"\nper = "message"')
    client = server.connect("/a")
    assert says(server, client, "b\na") == ["a\nb"]
    assert says(server, client, b"\xff\n\x00") == [b"\x00\n\xff\n"]
    assert server.metrics["program_starts"] == 2


def test_binary_messages_have_their_length_before_them(serving: Serving) -> None:
    server = serving('command = "cat"\nframe = "length"')
    client = server.connect("/a")
    assert says(server, client, b"\xff\n\x00", "text", b"") == [b"\xff\n\x00", "text", b""]


def test_json_values_flow(serving: Serving) -> None:
    server = serving("command = \"jq -c --unbuffered .a\"\nframe = 'json'", before="'json', ")
    assert says(server, server.connect("/a"), '{"a":{"b":[1]}}', '{"a":"x"}') == ['{"b":[1]}', "x"]


def test_a_program_finds_its_client_in_the_environment(serving: Serving) -> None:
    server = serving(
        shell('read -r x; echo "$FWS_CLIENT $FWS_PATH_ROOM $HTTP_X_A $HTTP_COOKIE $HOME"', 'headers = ["X-A"]')
    )
    client = server.connect("/tea", headers={"X-A": "b", "Cookie": "secret"})
    assert says(server, client, "") == [f"{client.id} tea b  "]


def test_a_table_without_branches_is_one_filter_in_all_events(serving: Serving) -> None:
    server = serving(
        "command = \"cat\"\nper = 'server'\nframe = 'json'\noutput = 'send'",
        connect="'program'",
        disconnect="'program'",
    )
    assert len([one for one in server.generation.filters if isinstance(one, Exec)]) == 1


# What programs do wrong.


@pytest.mark.parametrize("per", ["server", "client", "message"])
@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("exit 3", "has ended with the status 3"),
        ("read -r x; kill -SEGV $$", "was ended by SIGSEGV"),
        ("read -r x; printf half; exit 1", "has ended with the status 1"),
        ("exec sleep 60", "it has not answered within|it took longer"),  # never reads, never answers
        ("cat >&2; sleep 60", "it has not answered within|it took longer"),
        ("read -r x; printf half; sleep 60", "it has not answered within|it took longer"),
        ("exec sleep 60 >&2", "it has closed its output and goes on"),
        ("read -r x; head -c 2000000 /dev/zero; sleep 60", "more than 1048576 bytes"),
    ],
)
def test_a_program_that_fails_ends_the_message_and_not_the_client(
    script: str, why: str, per: str, serving: Serving, caplog: pytest.LogCaptureFixture
) -> None:
    timeout = "200ms" if "answered" in why else "10s"
    server = serving(
        shell(script, f'per = "{per}"', f'timeout = "{timeout}"', 'on_failure = "reply"', 'grace = "100ms"')
    )
    client = server.connect("/a")
    assert says(server, client, "hello") == ['{"error":"the program has failed"}']
    assert server.closed(client) is None
    assert server.metrics["program_faults"] == 1
    assert server.faults == 0
    assert re.search(why, caplog.text)


@pytest.mark.parametrize("per", ["server", "client"])
def test_a_program_that_has_ended_is_started_again(per: str, serving: Serving) -> None:
    server = serving(shell('read -r x; echo "$x"; read -r x; exit 1', f'per = "{per}"', 'on_failure = "reply"'))
    client = server.connect("/a")
    assert says(server, client, "1") == ["1"]
    assert says(server, client, "2") == ['{"error":"the program has failed"}']
    assert says(server, client, "3") == ["3"]
    assert (server.metrics["program_restarts"], server.metrics["program_exits"]) == (1, 1)


def test_waits_between_starts_grow_and_messages_fail_meanwhile_at_once(serving: Serving) -> None:
    server = serving(shell("exit 1", 'per = "server"', 'on_failure = "reply"'))
    client = server.connect("/a")
    began = time.monotonic()
    until(server, lambda: len(says(server, client, "x")) == 1 and server.metrics["program_starts"] >= 3)
    assert server.metrics["program_starts"] <= 3 + (time.monotonic() - began) / 0.1


def test_a_program_that_has_lived_for_a_while_is_started_again_at_once(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fws.programs.keeper.LIVED", 0.0)
    server = serving(shell('read -r x; echo "$x"', 'per = "server"'))
    client = server.connect("/a")
    for number in range(1, 6):
        assert says(server, client, str(number)) == [str(number)]
        until(server, lambda number=number: server.metrics["program_restarts"] == number)  # type: ignore[misc]


def test_a_line_that_nobody_asked_for_may_be_anybodys(serving: Serving, caplog: pytest.LogCaptureFixture) -> None:
    """It would become the answer of the next message, perhaps to another client."""
    server = serving(shell('read -r x; echo "$x"; echo secret; cat', 'per = "server"', 'on_failure = "reply"'))
    client, other = server.connect("/a"), server.connect("/a")
    assert says(server, client, "1") == ["1"]
    until(server, lambda: server.metrics["program_restarts"] == 1)
    assert says(server, other, "2") == ["2"]
    assert "it wrote what no message had asked for" in caplog.text


def test_much_to_do_does_not_end_a_program(serving: Serving, caplog: pytest.LogCaptureFixture) -> None:
    """Fault: the wait behind the messages of others counted as lateness, and mere load ended the program for all."""
    options = ['per = "server"', 'timeout = "400ms"', 'on_failure = "reply"']
    server = serving(shell('while read -r x; do sleep 0.04; echo "$x"; done', *options))
    clients = [server.connect("/a") for _ in range(30)]
    answers: dict[Client, list[Any]] = {client: [] for client in clients}
    failed, end = ['{"error":"the program has failed"}'], time.monotonic() + 2.5
    asked = dict.fromkeys(clients, 0)
    while time.monotonic() < end:
        for client in clients:
            if not client.busy:
                asked[client] += 1
                server.peers[client].arrive(server.peers[client].frame(f"{client.id} {asked[client]}"))
        gevent.sleep(0.02)
        server.turn()
    until(server, lambda: not any(client.busy for client in clients))
    for client in clients:
        answers[client] = [answer for answer in server.sent(client) if [answer] != failed]
        # None of them is the answer to the message of another client, or to a former one.
        numbers = [int(str(answer).removeprefix(f"{client.id} ")) for answer in answers[client]]
        assert numbers == sorted(set(numbers))
    assert (server.metrics["program_restarts"], server.metrics["program_failures"]) == (0, 0)
    # Much of what the program can do in this time is of use for somebody. On a loaded machine it can do less.
    assert sum(map(len, answers.values())) > 10
    assert server.metrics["program_timeouts"] > 0
    assert "more messages wait for it than it can answer within 0.4 s" in caplog.text


def test_a_late_answer_is_discarded(serving: Serving) -> None:
    """The next message gets its own answer, in the same process."""
    script = 'read -r x; echo "$x"; while read -r x; do sleep 0.25; echo "$x"; done'
    server = serving(shell(script, 'per = "server"', 'timeout = "400ms"', 'on_failure = "reply"'))
    ann, bob = server.connect("/a"), server.connect("/a")
    assert says(server, ann, "ready") == ["ready"]
    for client, text in ((ann, "one"), (bob, "two")):
        server.peers[client].arrive(server.peers[client].frame(text))
    until(server, lambda: server.metrics["program_timeouts"] == 1)
    assert server.sent(ann) == ["one"]
    assert server.sent(bob) == ['{"error":"the program has failed"}']
    gevent.sleep(0.2)
    assert says(server, bob, "three") == ["three"]
    assert server.metrics["program_starts"] == 1


@pytest.mark.parametrize("output", ["flow", "send"])
def test_a_flood_holds_up_nobody(output: str, serving: Serving) -> None:
    server = serving(shell("read -r x; yes", f'output = "{output}"'), tail="[endpoints.'/echo']\nmessage = ['echo']")
    client, other = server.connect("/a"), server.connect("/echo")
    server.peers[client].wire.full = True
    server.peers[client].arrive(server.peers[client].frame("x"))
    began = time.monotonic()
    for number in range(20):
        assert says(server, other, str(number)) == [str(number)]
    assert time.monotonic() - began < 5
    if output == "flow":
        until(server, lambda: server.metrics["program_failures"] > 0)
    else:
        until(server, lambda: server.metrics["slow_consumers"] == 1)


def test_nonsense_in_one_answer_does_not_concern_the_next(serving: Serving) -> None:
    server = serving(shell("read -r x; printf '\\377\\n'; cat", 'on_failure = "reply"'))
    client = server.connect("/a")
    assert says(server, client, "1", "2") == ['{"error":"the program has failed"}', "2"]
    assert server.metrics["program_restarts"] == 0


@pytest.mark.parametrize(
    ("message", "shown"), [("two\nlines", "more than one line"), ("two\rlines", "more than one line"), (b"x", "binary")]
)
def test_what_a_program_cannot_read_is_not_its_failure(message: str | bytes, shown: str, serving: Serving) -> None:
    server = serving('command = "cat"\non_failure = "reply"')
    [answer] = says(server, server.connect("/a"), message)
    assert shown in answer
    assert (server.metrics["program_messages_refused"], server.metrics["program_faults"]) == (1, 0)


def test_a_message_may_pass_when_the_program_fails(serving: Serving) -> None:
    server = serving('command = "false"\non_failure = "pass"')
    assert says(server, server.connect("/a"), "hello") == ["hello"]


def test_messages_wait_while_the_program_does_not_read(serving: Serving) -> None:
    """The queue is bounded: the client is not read until there is room, and fails after the timeout."""
    options = ['output = "send"', 'queue = "64KiB"', 'timeout = "300ms"', 'on_failure = "reply"']
    server = serving(shell("exec sleep 60", *options))
    client = server.connect("/a")
    answers = says(server, client, *["x" * 60_000] * 5)
    assert 1 <= len(answers) < 4
    assert server.metrics["program_faults"] == len(answers)


def test_stderr_is_logged_line_by_line(serving: Serving, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    server = serving(shell("echo a >&2; printf 'b\\377\\n' >&2; read -r x; printf half >&2"))
    client = server.connect("/a")
    server.arrive_now(client, "x")
    until(server, lambda: "half" in caplog.text)
    lines = [record.getMessage() for record in caplog.records if record.name == "fws.programs"]
    assert [line.partition(": ")[2] for line in lines[:3]] == ["a", "b\ufffd", "half"]


# Processes and clients.


def test_a_process_ends_with_its_client_and_so_does_its_group(serving: Serving, tmp_path: Path) -> None:
    server = serving(shell(f"sleep 60 & echo $! > {tmp_path}/child; trap '' TERM; cat", 'grace = "100ms"'))
    client = server.connect("/a")
    assert says(server, client, "x") == ["x"]
    child = int((tmp_path / "child").read_text())
    assert is_there(child)
    server.leave(client)
    until(server, lambda: not is_there(child))


def test_what_is_left_of_a_group_is_ended_when_the_program_ends(serving: Serving, tmp_path: Path) -> None:
    server = serving(shell(f"(trap '' TERM; sleep 60) & echo $! >> {tmp_path}/child; read -r x"))
    client = server.connect("/a")
    says(server, client, "x")
    child = int((tmp_path / "child").read_text().split()[0])
    until(server, lambda: not is_there(child))


def is_there(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return False


@pytest.mark.parametrize("per", ["server", "client"])
def test_stop_ends_stubborn_programs(per: str, serving: Serving, tmp_path: Path) -> None:
    server = serving(
        shell(f"trap '' TERM; echo $$ > {tmp_path}/pid; cat; sleep 60", f'per = "{per}"', 'grace = "200ms"')
    )
    client = server.connect("/a")
    assert says(server, client, "x") == ["x"]
    pid = int((tmp_path / "pid").read_text())
    began = time.monotonic()
    assert server.generation.stop() == []
    gevent.sleep(0.05)
    assert not is_there(pid)
    assert time.monotonic() - began < 5


def test_stop_ends_a_stubborn_program_whose_message_has_failed(serving: Serving, tmp_path: Path) -> None:
    options = 'per = "message"', 'timeout = "300ms"', 'grace = "20s"', 'on_failure = "reply"'
    server = serving(shell(f"trap '' TERM; echo $$ > {tmp_path}/pid; while :; do sleep 0.1; done", *options))
    assert says(server, server.connect("/a"), "x") == ['{"error":"the program has failed"}']
    pid = int((tmp_path / "pid").read_text())
    assert is_there(pid)
    assert server.generation.stop() == []
    until(server, lambda: not is_there(pid))


def test_there_are_no_more_processes_than_most(serving: Serving) -> None:
    server = serving('command = "cat"\nmost = 1\non_failure = "reply"', connect="'program'")
    first = server.connect("/a")
    with pytest.raises(Reject) as refused:
        server.connect("/a")
    assert refused.value.status == 503
    assert server.metrics["programs_over_limit"] == 1
    server.leave(first)
    until(server, lambda: not is_running(server))
    assert says(server, server.connect("/a"), "x") == ["x"]


def is_running(server: Harness) -> bool:
    [program] = [one for one in server.generation.filters if isinstance(one, Exec)]
    return bool(vars(program)["_mode"]._keepers)


def test_with_a_process_for_each_message_others_wait_for_their_turn(serving: Serving) -> None:
    server = serving(shell("sleep 0.05; cat", 'per = "message"', "most = 1"))
    clients = [server.connect("/a") for _ in range(3)]
    for client in clients:
        server.peers[client].arrive(server.peers[client].frame("x"))
    until(server, lambda: server.metrics["program_starts"] == 3 and not any(client.busy for client in clients))
    assert [server.sent(client) for client in clients] == [["x"]] * 3
    assert server.metrics["program_starts"] == 3


def test_a_process_counts_until_it_has_ended(serving: Serving) -> None:
    """Otherwise programs that ignore SIGTERM would be as many as clients like."""
    options = ['per = "message"', "most = 1", 'timeout = "100ms"', 'grace = "1s"', 'on_failure = "reply"']
    server = serving(shell("trap '' TERM; while :; do sleep 0.1; done", *options))
    client = server.connect("/a")
    assert says(server, client, "1", "2") == ['{"error":"the program has failed"}'] * 2
    assert (server.metrics["program_starts"], server.metrics["programs_over_limit"]) == (1, 1)


def test_a_program_that_cannot_be_started_refuses_on_connect(serving: Serving, tmp_path: Path) -> None:
    file = tmp_path / "tool"
    file.write_text("#!/no/such/interpreter\n")
    file.chmod(0o755)
    server = serving(f'command = "{file}"', connect="'program'")
    with pytest.raises(Reject) as refused:
        server.connect("/a")
    assert refused.value.status == 503
    assert server.metrics["program_failures"] >= 1


def test_a_program_may_speak_first_and_end_the_connection(serving: Serving) -> None:
    server = serving(
        shell('echo "hello $FWS_CLIENT"; read -r x; echo "$x"', 'output = "send"', 'on_exit = "close"'),
        connect="'program'",
    )
    client = server.connect("/a")
    until(server, lambda: b"hello" in server.peers[client].wire.written)
    assert server.sent(client) == [f"hello {client.id}"]
    server.arrive_now(client, "bye")
    until(server, lambda: server.closed(client) is not None)
    assert server.closed(client) == (1000, "the program has ended")


def test_no_program_is_started_for_a_client_that_is_being_closed(serving: Serving) -> None:
    """Fault: the program was started again before its client was closed, and ended at once."""
    server = serving(shell("read -r x; kill -KILL $$", 'on_exit = "close"'))
    client = server.connect("/a")
    server.arrive_now(client, "x")
    until(server, lambda: server.closed(client) is not None)
    assert server.closed(client) == (1011, "the program has ended")
    gevent.sleep(0.1)
    assert (server.metrics["program_starts"], server.metrics["program_restarts"]) == (1, 0)
    assert not is_running(server)


def test_limits_hold_for_the_program(serving: Serving) -> None:
    server = serving(shell("read -r x; ulimit -n; cat", "limits = 'files=17'", "nice = 5"))
    assert says(server, server.connect("/a"), "x") == ["17"]


# One process for all clients that knows them.

SHARED = ['per = "server"', 'frame = "json"', 'on_failure = "reply"']


def test_lines_carry_the_client_and_answers_its_fate(serving: Serving) -> None:
    script = "jq -c --unbuffered '{message: [.event, .client, .identity.user, .message], reply: 1}'"
    server = serving(f"command = {json.dumps(script)}\n" + "\n".join(SHARED), before="'json', ")
    client = server.connect("/a", identity={"user": "ann"})
    assert says(server, client, '"x"') == ["1", f'["message","{client.id}","ann","x"]']


@pytest.mark.parametrize(
    ("answer", "got", "closed"),
    [
        ({}, ["x"], None),
        ({"drop": True}, [], None),
        ({"join": "lobby", "publish": {"channel": "lobby", "message": "hi"}}, ["hi", "x"], None),
        ({"close": 4000}, [], (4000, "")),
        ({"reject": 403}, [], None),
        ({"mesage": 1}, ['{"error":"the program has failed"}'], None),
        ([], ['{"error":"the program has failed"}'], None),
        (None, ['{"error":"the program has failed"}'], None),
        ({"identity": {}}, ['{"error":"the program has failed"}'], None),
    ],
)
def test_what_an_answer_says_is_checked_and_done(answer: Any, got: list[str], closed: Any, serving: Serving) -> None:
    script = f"while read -r x; do echo {json.dumps(json.dumps(answer))}; done"
    server = serving(shell(script, *SHARED))
    client = server.connect("/a")
    assert sorted(says(server, client, "x")) == sorted(got)
    assert server.closed(client) == closed
    assert server.metrics["program_restarts"] == 0


def test_a_channel_that_cannot_be_joined_is_a_refusal(
    serving: Serving, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Fault: it was logged as a fault of the filter, and later not at all."""

    def full(*_: object) -> None:
        raise Reject(429, "Too many channels.")

    monkeypatch.setattr(Client, "join", full)
    answer = json.dumps(json.dumps({"join": "tea", "reply": 1}))
    server = serving(shell(f"while read -r x; do echo {answer}; done", *SHARED))
    client = server.connect("/a")
    assert says(server, client, "x") == []
    assert (server.faults, server.closed(client)) == (0, None)
    assert server.metrics["program_answers_refused"] == 1
    assert "wrote something wrong: Too many channels." in caplog.text


@pytest.mark.parametrize(
    ("answer", "status"), [({"reject": 403}, 403), ({"identity": {"user": "ann"}}, None), ({"message": 1}, 503)]
)
def test_on_connect_it_decides_who_may_come(answer: Any, status: int | None, serving: Serving) -> None:
    script = f"while read -r x; do echo {json.dumps(json.dumps(answer))}; done"
    server = serving(shell(script, *SHARED), connect="'program'")
    if status is None:
        assert server.connect("/a").identity == {"user": "ann"}
    else:
        with pytest.raises(Reject) as refused:
            server.connect("/a")
        assert refused.value.status == status


GAME = """
while read -r line; do
  case "$line" in
    *connect*) echo '{"to":"all","reply":"came"}';;
    *everybody*) echo '{"to":"all","reply":"hi","join":"lobby"}';;
    *kick*) echo '{"to":["nobody",'"$(echo "$line" | jq .client)"'],"close":{"code":4001,"reason":"out"}}';;
    *wrong*) echo '{"to":5}'; echo 'no json'; echo '[]'; echo '{"reply":1}'; echo '{"to":"all","message":1}';;
    *publish*) echo '{"publish":{"channel":"lobby","message":"news"}}';;
  esac
done
"""


def test_a_program_speaks_to_those_it_knows(serving: Serving) -> None:
    options = [*SHARED, 'output = "send"']
    server = serving(shell(GAME, *options), connect="'program'", disconnect="'program'")
    got: dict[Client, list[Any]] = {}

    def until_got(client: Client, *expected: Any) -> None:
        def holds() -> bool:
            for one, messages in got.items():
                messages += server.sent(one)
            return got[client] == list(expected)

        until(server, holds)
        for messages in got.values():
            messages.clear()

    ann = server.connect("/a")
    got[ann] = []
    until_got(ann, "came")
    bob = server.connect("/b")
    got[bob] = []
    until_got(bob, "came")
    server.arrive_now(ann, "everybody")
    until_got(bob, "hi")
    assert ann.channels == bob.channels == {"lobby"}
    server.arrive_now(ann, "publish")
    until_got(bob, "news")
    server.arrive_now(ann, "wrong")
    until(server, lambda: server.metrics["program_answers_refused"] == 5)
    server.arrive_now(bob, "kick")
    until(server, lambda: server.closed(bob) == (4001, "out"))
    assert server.closed(ann) is None


def test_when_a_shared_program_ends_its_clients_may_be_closed(serving: Serving) -> None:
    server = serving(shell("read -r x", *SHARED, 'output = "send"', 'on_exit = "close"'))
    client = server.connect("/a")
    server.arrive_now(client, "x")
    until(server, lambda: server.closed(client) == (1012, "the program has ended"))


@pytest.mark.parametrize("per", ["server", "message"])
def test_a_tick_has_no_client(per: str, serving: Serving) -> None:
    server = serving('command = "tr a-z A-Z"\nper = "message"' if per == "message" else shell(ECHO, 'per = "server"'))
    [program] = [one for one in server.generation.filters if isinstance(one, Exec)]
    assert program.tick("hello") == ("HELLO" if per == "message" else "hello")


# Problems of the file.


@pytest.mark.parametrize(
    ("event", "stage", "problem"),
    [
        ("message", "exec nosuchprogram", "no program 'nosuchprogram' in PATH"),
        ("message", "exec 'cat {client.id}'", "is text in a command"),
        ("message", "exec cat per=message frame=length", "leave it out"),
        ("message", "exec cat per=server output=send", "output: send needs"),
        ("message", "exec cat output=send on_failure=pass", "no message flows on"),
        ("message", "exec cat per=message on_exit=close", "on_exit: close needs"),
        ("message", "exec cat per=server most=2", "there is one process"),
        ("message", "exec cat headers=Proxy", "would become a proxy"),
        ("message", "exec cat limits=files=x", "expected limits such as"),
        ("connect", "exec cat per=server", "nothing flows on connect"),
        ("connect", "exec cat per=message", "nothing flows on connect"),
        ("disconnect", "exec cat", "disconnect is for"),
    ],
)
def test_problems_are_found_before_anything_starts(event: str, stage: str, problem: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=problem):
        build(f'[pipelines]\n{event} = ["{stage}"]', tmp_path)


@pytest.mark.parametrize("options", [{}, {"per": "client"}, {"per": "server", "output": "send"}])
def test_on_tick_there_is_no_client_to_answer(options: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="no client on tick"):
        Exec.check_event("tick", options)


def test_descriptors_are_closed(serving: Serving) -> None:
    server = serving('command = "cat"\nper = "message"')
    client = server.connect("/a")
    says(server, client, "x")
    before = len(os.listdir("/proc/self/fd"))
    says(server, client, *["x"] * 5)
    assert len(os.listdir("/proc/self/fd")) == before
