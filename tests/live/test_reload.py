"""The rules of reload, each on real clients, hub and filters without a network."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent
import pytest
from gevent.event import Event

from fws.live.reload import Report, Requests, described
from tests.live.site import LiveSite
from tests.support import Clock

Start = Callable[..., LiveSite]
COUNTER = """
from fws import Filter
class Counter(Filter):
    waits = False
    step: int = 1
    def __post_init__(self):
        self.number = 0
    def adopt(self, old):
        self.number = old.number
    def message(self, client, message):
        self.number += self.step
        client.send(str(self.number))
"""
SLOW = """
from gevent.event import Event
from fws import Filter
GO, BEGUN = Event(), Event()
class Slow(Filter):
    word: str = "old"
    def message(self, client, message):
        if message == "wait":
            BEGUN.set()
            GO.wait()
        return f"{message} {self.word}"
"""
NOTED = """
from fws import Filter
NOTES = []
class Noted(Filter):
    word: str = ""
    def start(self): NOTES.append(f"start {self.word}")
    def stop(self): NOTES.append(f"stop {self.word}")
    def connect(self, client): NOTES.append(f"connect {self.word}")
    def message(self, client, message): return f"{message} {self.word}"
    def disconnect(self, client): NOTES.append(f"disconnect {self.word}")
"""
STUCK = """
import gevent
from fws import Filter
class Stuck(Filter):
    word: str = ""
    def stop(self): gevent.sleep(60)
    def message(self, client, message): return message
"""
LATER = """
from fws import Filter, Later
FLOWS = []
class Held(Filter):
    def message(self, client, message):
        return Later(FLOWS.append)
"""
BRANCH = """
[pipelines]
message = ["by"]
[filters.by]
use = "switch"
key = "a"
case.x = []
default = ["later", "noted one", "echo"]
"""


@pytest.fixture
def start(tmp_path: Path) -> Start:
    def make(toml: str, **pipelines: str) -> LiveSite:
        return LiveSite(toml, tmp_path, pipelines=pipelines)

    return make


def unexpected(error: BaseException) -> None:
    raise error


def message(*stages: str) -> str:
    return f"[pipelines]\nmessage = {list(stages)}\n".replace("'", '"')


def module_of(site: LiveSite, name: str) -> Any:
    """A module of the generation in force."""
    assert site.generation.registry.project is not None
    return site.generation.registry.project.load(name)


# What the next event does.


def test_the_next_message_of_a_connected_client_runs_in_the_new_generation(start: Start) -> None:
    site = start(message("reply one"))
    client = site.harness.connect()
    site.harness.client_says(client, "a")
    assert site.edit(message("reply two")).status == "done"
    site.harness.client_says(client, "a")
    assert site.harness.sent(client) == ["one", "two"]
    assert site.generation.number == 2


def test_an_event_in_progress_finishes_in_the_old_generation(start: Start) -> None:
    site = start(message("slow", "reply first", "echo"), slow=SLOW)
    slow = module_of(site, "slow")
    client, other = site.harness.connect(), site.harness.connect()
    site.harness.peers[client].arrive(site.harness.peers[client].frame("wait"))
    site.harness.peers[client].arrive(site.harness.peers[client].frame("next"))
    while not slow.BEGUN.is_set():
        site.harness.turn()
        gevent.sleep(0)
    assert site.edit(message("slow new", "reply second", "echo")).status == "done"
    site.harness.peers[other].arrive(site.harness.peers[other].frame("hi"))
    for _ in range(10):
        site.harness.turn()
    assert site.harness.peers[other].read() == ["second", "hi new"], "an old event that blocks delays nobody"
    slow.GO.set()
    gevent.sleep(0)
    site.harness.settle()
    assert site.harness.sent(client) == ["first", "wait old", "second", "next new"]


def test_connect_is_not_run_again_and_disconnect_is_the_new_one(start: Start) -> None:
    toml = '[pipelines]\nconnect = ["noted {}"]\ndisconnect = ["noted {}"]\n'
    site = start(toml.format("one", "one"), noted=NOTED)
    client = site.harness.connect()
    report = site.edit(toml.format("two", "two"))
    assert any("new connections only; 1 clients keep what they have" in line for line in report.lines)
    site.harness.connect()
    site.harness.leave(client)
    notes = [note for note in module_of(site, "noted").NOTES if note.split()[0] not in ("start", "stop")]
    assert notes == ["connect one", "connect two", "disconnect two"]


def test_members_stay_members_and_publications_are_filtered_anew(start: Start) -> None:
    toml = '[pipelines]\nconnect = ["join all"]\npublication = ["{}"]\n'
    site = start(toml.format("log"))
    client = site.harness.connect()
    site.edit(toml.format("drop"))
    site.harness.channels.publish("all", "a")
    site.edit(toml.format("log"))
    site.harness.channels.publish("all", "b")
    assert site.harness.sent(client) == ["b"]


# What happens to state.


def test_a_rate_limit_is_not_reset_by_an_edit_elsewhere_or_of_its_own_options(start: Start) -> None:
    site = start(message("rate_limit 1/min burst=2", "echo"))
    client = site.harness.connect()
    site.harness.client_says(client, "1")
    site.edit(message("rate_limit 1/min burst=2", "reply x", "echo"))
    site.edit(message("rate_limit 2/min burst=2", "echo"))
    site.harness.client_says(client, "2", "3", "4")
    assert site.harness.sent(client) == ["1", "2"]


@pytest.mark.parametrize("by", ["by=address", "by=user", "by=user store=shared"])
def test_a_rate_limit_by_address_or_user_is_not_reset_either(start: Start, by: str) -> None:
    site = start(message(f"rate_limit 1/min burst=1 {by}", "echo"))
    client = site.harness.connect(identity={"user": "ann"})
    site.harness.client_says(client, "1")
    changed = "on_excess=drop" if "shared" in by else ""
    site.edit(message(f"rate_limit {1 if changed else 2}/min burst=1 {by} {changed}".strip(), "echo"))
    site.harness.client_says(client, "2")
    assert site.harness.sent(client) == ["1"]


def test_a_filter_with_changed_options_or_code_adopts(start: Start) -> None:
    site = start(message("counter"), counter=COUNTER)
    client = site.harness.connect()
    site.harness.client_says(client, "x", "x")
    report = site.edit(message("counter 10"))
    assert any("its state is kept" in line for line in report.lines)
    site.harness.client_says(client, "x")
    report = site.edit(message("counter 10"), pipelines={"counter": COUNTER.replace("str(", "'n' + str(")})
    assert any("its code in counter.py has changed" in line for line in report.lines)
    site.harness.client_says(client, "x")
    assert site.harness.sent(client) == ["1", "2", "12", "n22"]


def test_an_adoption_that_fails_starts_afresh_and_is_reported(start: Start) -> None:
    site = start(message("counter"), counter=COUNTER)
    client = site.harness.connect()
    site.harness.client_says(client, "x")
    broken = COUNTER.replace("self.number = old.number", "raise OSError('lost')")
    assert site.edit(message("counter 5"), pipelines={"counter": broken}).status == "done"
    site.harness.client_says(client, "x")
    assert site.harness.sent(client) == ["1", "5"]
    assert site.harness.faults == 1


def test_stages_with_placeholders_keep_and_adopt_their_instances(start: Start) -> None:
    toml = '[endpoints."/{{burst}}"]\nmessage = ["rate_limit {rate}/min burst={{burst}} by=address", "echo"]\n'
    site = start(toml.format(rate=1))
    client = site.harness.connect("/1")
    site.harness.client_says(client, "1")
    site.edit(toml.format(rate=2))
    site.harness.client_says(client, "2")
    assert site.harness.sent(client) == ["1"]
    assert len(client.templated) <= 2


# Endpoints, settings and limits.


def test_clients_of_a_removed_endpoint_are_given_back_to_be_closed(start: Start) -> None:
    site = start('[endpoints."/a"]\nmessage = ["echo"]\n[endpoints."/b"]\nmessage = ["echo"]\n')
    gone, stays = site.harness.connect("/a"), site.harness.connect("/b")
    report = site.edit('[endpoints."/b"]\nmessage = ["reply b"]\n')
    assert site.lost == [gone]
    assert any("1 clients are closed with 1001" in line for line in report.lines)
    site.harness.client_says(gone, "still")
    site.harness.client_says(stays, "x")
    assert (site.harness.sent(gone), site.harness.sent(stays)) == (["still"], ["b"])


def test_limits_apply_to_connected_clients(start: Start) -> None:
    toml = '[limits]\nmax_message = "{}"\n[pipelines]\nmessage = ["echo"]\n'
    site = start(toml.format("1KiB"))
    client, other = site.harness.connect(), site.harness.connect()
    site.edit(toml.format("4KiB"))
    site.harness.client_says(client, "x" * 3000)
    assert site.harness.sent(client) == ["x" * 3000]
    site.edit(toml.format("1KiB"))
    site.harness.client_says(other, "x" * 3000)
    assert site.harness.closed(other) == (1009, "a message is larger than 1024 bytes")


def test_a_deliver_pipeline_comes_and_goes_under_connected_members(start: Start) -> None:
    base = '[pipelines]\nconnect = ["join all"]\nmessage = ["broadcast all"]\n'
    site = start(base)
    clients = [site.harness.connect() for _ in range(3)]
    for number, deliver in enumerate(['deliver = ["skip_sender"]\n', "", 'deliver = ["drop"]\n', ""]):
        site.harness.channels.publish("all", f"before {number}")  # it is pending while the generations are swapped
        site.edit(base + deliver)
        site.harness.client_says(clients[0], f"said {number}")
    before = [f"before {number}" for number in range(4)]
    both = [line for number in range(4) for line in (f"before {number}", f"said {number}")]
    hidden = {"said 2"}
    assert site.harness.sent(clients[1]) == [line for line in both if line not in hidden]
    assert site.harness.sent(clients[0]) == [line for line in both if line not in hidden | {"said 0"}]
    assert set(before) <= set(both)


def test_publications_that_wait_for_a_removed_deliver_pipeline_are_not_overtaken(start: Start) -> None:
    slow = (
        SLOW.replace("message(self, client, message)", "deliver(self, client, publication)")
        .replace('message == "wait"', 'publication.message == "wait"')
        .replace('return f"{message} {self.word}"', "return None")
    )
    base = '[pipelines]\nconnect = ["join all"]\n'
    site = start(base + 'deliver = ["slow"]\n', slow=slow)
    client, module = site.harness.connect(), module_of(site, "slow")
    for text in ("wait", "2", "3"):
        site.harness.channels.publish("all", text)
    while not module.BEGUN.is_set():
        site.harness.turn()
        gevent.sleep(0)
    site.edit(base)
    site.harness.channels.publish("all", "4")
    for _ in range(5):
        site.harness.turn()
    module.GO.set()
    gevent.sleep(0)
    site.harness.settle()
    site.harness.channels.publish("all", "5")
    assert site.harness.sent(client) == ["wait", "2", "3", "4", "5"]
    assert not client.format.each, "publications are written directly again"


def test_a_filter_that_may_block_comes_and_goes(start: Start) -> None:
    site = start(message("echo"), slow=SLOW)
    client = site.harness.connect()
    for stages, answer in ((("slow", "echo"), "x old"), (("echo",), "x"), (("slow new", "echo"), "x new")):
        assert site.edit(message(*stages)).status == "done"
        site.harness.client_says(client, "x")
        assert site.harness.sent(client) == [answer]


def test_the_listen_address_and_redis_need_a_restart(start: Start) -> None:
    site = start(message("echo"))
    report = site.edit('[server]\nlisten = ":9999"\n[redis]\nurl = "redis://:s3cret@host"\n' + message("reply x"))
    assert (report.status, report.exit_status) == ("restart", 3)
    assert any("[server] listen" in line and "needs a restart" in line for line in report.lines)
    assert not any("s3cret" in line for line in report.lines)
    client = site.harness.connect()
    site.harness.client_says(client, "a")
    assert site.harness.sent(client) == ["a"], "nothing of the file is in force"


API = """
[api]
key = "an-open-secret-{number}"
path = "/api"
[api.keys.shop]
key = "an-open-secret-of-shop-{number}"
read = true
"""


def test_changes_of_the_api_are_shown_without_its_keys(start: Start) -> None:
    site = start(message("echo"))
    shown = [site.edit(text + message("echo")) for text in (API.format(number=1), API.format(number=2), "")]
    assert [report.status for report in shown] == ["done"] * 3
    lines = [[line.split() for line in report.lines] for report in shown]
    assert lines[0] == [["+", "[api]", "added"], ["+", "[api.keys.shop]", "added"]]
    assert [line[:3] for line in lines[1]] == [["~", "[api]", "key"], ["~", "[api.keys.shop]", "changed"]]
    assert lines[2] == [["-", "[api]", "removed"], ["-", "[api.keys.shop]", "removed"]]
    assert "secret" not in str(shown)


def test_a_second_address_needs_a_restart(start: Start) -> None:
    site = start(message("echo"))
    report = site.edit('[admin]\nlisten = "127.0.0.1:9100"\n' + message("echo"))
    assert report.status == "restart"
    assert any("[admin] listen" in line and "127.0.0.1:9100" in line for line in report.lines)


# Failures leave everything as it was.


def test_a_broken_file_is_refused_with_all_its_problems_and_the_next_good_one_is_taken(start: Start) -> None:
    site = start(message("echo"))
    client = site.harness.connect()
    report = site.edit('[pipelines]\nmessage = ["ecko", "rate_limit x"]\n')
    assert (report.status, report.exit_status, len(report.lines)) == ("refused", 4, 2)
    assert site.reloader.refused
    site.harness.client_says(client, "a")
    assert site.edit(message("reply x")).status == "done"
    assert site.reloader.refused == ""
    site.harness.client_says(client, "a")
    assert site.harness.sent(client) == ["a", "x"]


def test_failing_tests_refuse_a_file_unless_they_are_not_wanted(start: Start) -> None:
    site = start(message("echo"))
    site.failures = ["  FAIL  greets"]
    assert site.edit(message("reply x")).lines == ["  FAIL  greets"]
    assert site.generation.number == 1
    assert site.edit(message("reply x"), test=False).status == "done"


def test_a_filter_that_fails_to_start_refuses_the_file_and_the_others_are_stopped(start: Start) -> None:
    site = start(message("echo"), noted=NOTED, broken=NOTED.replace('NOTES.append(f"start {self.word}")', "1 / 0"))
    report = site.edit(message("noted one", "broken", "echo"))
    assert report.status == "refused"
    assert "failed to start: ZeroDivisionError" in report.lines[0]
    site.look()
    assert module_of(site, "noted").NOTES == ["start one", "stop one"]


def test_a_module_that_cannot_be_imported_leaves_the_old_one_in_force(start: Start) -> None:
    site = start(message("counter"), counter=COUNTER)
    client = site.harness.connect()
    report = site.edit(message("counter"), pipelines={"counter": "import nothing_of_this_name"})
    assert "cannot be imported" in report.lines[0]
    site.harness.client_says(client, "x")
    assert site.harness.sent(client) == ["1"]
    assert site.edit(message("counter 2"), pipelines={"counter": COUNTER}).status == "done"


def test_a_dry_run_changes_nothing_and_starts_nothing(start: Start) -> None:
    site = start(message("echo"), noted=NOTED)
    site.write(message("noted one"), {})
    report = site.reloader.reload(dry_run=True)
    assert (report.status, report.generation, report.exit_status) == ("possible", 1, 0)
    assert any(line.startswith("+ * message/noted") for line in report.lines)
    assert module_of(site, "noted").NOTES == []


def test_only_comments_and_blanks_changed_is_no_reload(start: Start) -> None:
    site = start(message("echo"))
    assert site.edit("# a comment\n\n" + message("echo")).status == "unchanged"
    assert site.generation.number == 1


# Retirement.


def test_filters_start_before_the_swap_and_stop_when_the_last_event_is_over(start: Start) -> None:
    site = start(message("slow", "noted one"), noted=NOTED, slow=SLOW)
    slow, noted = module_of(site, "slow"), module_of(site, "noted")
    client = site.harness.connect()
    site.harness.peers[client].arrive(site.harness.peers[client].frame("wait"))
    while not slow.BEGUN.is_set():
        site.harness.turn()
        gevent.sleep(0)
    site.edit(message("slow", "noted two"))
    site.look()
    assert noted.NOTES == ["start one", "start two"]
    slow.GO.set()
    gevent.sleep(0)
    site.harness.settle()
    gc.collect()
    site.look()
    assert noted.NOTES == ["start one", "start two", "stop one"]
    assert site.reloader.retiring == []


@pytest.mark.parametrize("toml", [message("later", "noted one", "echo"), BRANCH], ids=["pipeline", "branch"])
def test_filters_are_not_stopped_before_what_is_held_back_has_flowed_through_them(start: Start, toml: str) -> None:
    """Fault: nothing ran in the old pipeline, so that its filters were stopped, and were used after that."""
    site = start(toml, noted=NOTED, later=LATER)
    later, noted = module_of(site, "later"), module_of(site, "noted")
    client = site.harness.connect()
    site.harness.client_says(client, "hello")
    site.edit(toml.replace("one", "two"))
    gc.collect()
    site.look()
    assert noted.NOTES == ["start one", "start two"]
    later.FLOWS.pop()("later")
    site.harness.settle()
    assert site.harness.sent(client) == ["later one"]
    gc.collect()
    site.look()
    assert noted.NOTES == ["start one", "start two", "stop one"]


def test_filters_are_stopped_at_the_end_of_drain_in_any_case(start: Start) -> None:
    site = start(message("slow", "noted one"), noted=NOTED, slow=SLOW)
    slow, noted = module_of(site, "slow"), module_of(site, "noted")
    client = site.harness.connect()
    site.harness.peers[client].arrive(site.harness.peers[client].frame("wait"))
    while not slow.BEGUN.is_set():
        site.harness.turn()
        gevent.sleep(0)
    site.edit(message("slow", "noted two"))
    site.look(24)
    assert "stop one" not in noted.NOTES
    site.look(26)
    assert "stop one" in noted.NOTES
    slow.GO.set()
    gevent.sleep(0)
    site.harness.settle()


def test_a_filter_whose_stop_hangs_holds_up_no_other(start: Start) -> None:
    """Fault: former filters were stopped one after the other, and a stubborn program held up all that came later."""
    site = start(message("stuck", "noted one"), noted=NOTED, stuck=STUCK)
    noted = module_of(site, "noted")
    for word in ("two", "three"):
        site.edit(message(f"stuck {word}", f"noted {word}"))
        gc.collect()
        site.reloader.look(site.clock(), unexpected)
        gevent.sleep(0)
    assert [note for note in noted.NOTES if "stop" in note] == ["stop one", "stop two"]
    stopping = site.reloader.end(unexpected)
    assert sorted(one.ready() for one in stopping) == [False, False, True, True]
    gevent.killall(stopping)


def test_at_the_end_of_the_server_former_filters_are_stopped_too(start: Start) -> None:
    site = start(message("noted one"), noted=NOTED)
    kept = site.generation  # as a client of a removed endpoint keeps it
    site.edit(message("noted two"))
    site.look()
    gevent.joinall(site.reloader.end(unexpected))
    assert "stop one" in module_of(site, "noted").NOTES
    assert kept.number == 1


def test_old_generations_and_their_classes_are_freed(start: Start) -> None:
    site = start(message("counter"), counter=COUNTER)
    site.harness.connect()
    classes, pipelines = [], []
    for number in range(10):
        assert site.generation.default is not None
        step = site.generation.default.message.steps[0]
        classes.append(weakref.ref(step.cls))
        pipelines.append(weakref.ref(site.generation.default.message))
        site.edit(message("counter"), pipelines={"counter": f"{COUNTER}\n# {number}\n"})
        site.look()
    del step
    gc.collect()
    assert [one() is None for one in pipelines] == [True] * 10
    assert [one() is None for one in classes] == [True] * 10


# Requests.


def test_requests_during_a_reload_share_exactly_one_more() -> None:
    go, calls = Event(), []

    def reload(dry_run: bool, test: bool) -> Report:
        calls.append((dry_run, test))
        go.wait()
        return Report("done", len(calls))

    requests = Requests(reload)
    greenlets = [gevent.spawn(requests.ask)]
    gevent.sleep(0)
    greenlets += [gevent.spawn(requests.ask) for _ in range(3)]
    gevent.sleep(0)
    go.set()
    gevent.joinall(greenlets, timeout=5, raise_error=True)
    assert [greenlet.value.generation for greenlet in greenlets] == [1, 2, 2, 2]
    assert len(calls) == 2


def test_the_last_reload_is_remembered_and_a_dry_run_is_none() -> None:
    wall, answers = Clock(100.0), [Report("possible", 1), Report("refused", 1, ["a problem"]), Report("done", 2)]
    requests = Requests(lambda dry_run, test: answers.pop(0), wall)
    assert described("a.toml", 1, requests) == {"file": "a.toml", "generation": 1, "since": 100.0, "last": None}
    wall.advance(1)
    requests.ask(dry_run=True)
    assert requests.last is None
    requests.ask()
    refused = {"at": 101.0, "status": "refused", "generation": 1, "lines": ["a problem"]}
    assert described("a.toml", 1, requests)["last"] == refused
    assert requests.since == 100.0
    wall.advance(1)
    requests.ask()
    assert (requests.since, described("a.toml", 2, requests)["last"]["status"]) == (102.0, "done")
