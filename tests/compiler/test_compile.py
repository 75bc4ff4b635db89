"""From a file to a generation: names, scopes, instances, and every problem at once."""

from __future__ import annotations

import string
from pathlib import Path

import gevent
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fws.base.errors import ConfigError, Refusal, Reject
from fws.cli.run import TOKEN_LOGIN
from fws.compiler.compile import load_generation
from fws.compiler.generation import Generation
from fws.pipeline.pipeline import Pipeline
from tests.support import build

OWN = '''
from typing import Annotated
from fws import Filter, Help, Duration


class Own(Filter):
    """Adds its word."""

    word: Annotated[str, Help("What to add.")] = "own"
    wait: Annotated[Duration, Help("How long.")] = 1.0

    def message(self, client, message):
        return f"{message} {self.word}"
'''


def compiled(toml: str, folder: Path, pipelines: dict[str, str] | None = None, **environ: str) -> Generation:
    return build(toml, folder, pipelines=pipelines or {"own": OWN}, environ=environ).generation


def problems(toml: str, folder: Path, pipelines: dict[str, str] | None = None, **environ: str) -> list[str]:
    with pytest.raises(ConfigError) as error:
        compiled(toml, folder, pipelines, **environ)
    assert all(problem.place is not None for problem in error.value.problems)
    return [str(problem) for problem in error.value.problems]


def text(generation: Generation, event: str, path: str = "/") -> str:
    route = generation.route(path)
    assert route is not None
    return str(getattr(route[0], event))


def test_names_are_looked_up_in_tables_then_chains_then_filters(tmp_path: Path) -> None:
    toml = """
    [pipelines]
    message = ["own", "echo", "text"]
    [filters.own]
    use = "own"
    word = "from the table"
    [chains]
    echo = ["drop", "json"]
    """
    generation = compiled(toml, tmp_path)
    assert text(generation, "message") == "own | drop | json | text"
    assert generation.default is not None
    assert generation.default.message.steps[0].options == 'word="from the table" wait="1s"'


def test_one_name_from_two_origins_is_never_a_silent_choice(tmp_path: Path) -> None:
    pipelines = {"echo": OWN}
    (found,) = problems('[pipelines]\nmessage = ["echo"]\n', tmp_path, pipelines)
    assert "project:echo or fws:echo" in found
    generation = compiled('[pipelines]\nmessage = ["fws:echo", "project:echo word=x"]\n', tmp_path, pipelines)
    assert text(generation, "message") == "fws:echo | project:echo word=x"


def test_several_filters_of_a_module_go_by_module_and_name(tmp_path: Path) -> None:
    two = OWN + "\n\nclass SecondOne(Own):\n    def message(self, client, message): ...\n"
    generation = compiled('[pipelines]\nmessage = ["two.own", "two.second_one"]\n', tmp_path, {"two": two})
    assert text(generation, "message") == "two.own | two.second_one"
    (found,) = problems('[pipelines]\nmessage = ["two"]\n', tmp_path, {"two": two})
    assert "there is no filter 'two'" in found


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("def broken(:\n", "line 1"),
        ("import nothing_of_that_name\n", "nothing_of_that_name"),
        ("1 / 0\n", "division by zero (line 1 of bad.py)"),
        ("raise SystemExit(3)\n", "SystemExit"),
        (
            "from fws import Filter\nclass A(Filter):\n    x: int = 1\n    y: str\n    def message(self, c, m): ...\n",
            "bad.py",
        ),
    ],
)
def test_a_module_that_does_not_import_is_a_problem_of_the_file(source: str, said: str, tmp_path: Path) -> None:
    (found,) = problems('[pipelines]\nmessage = ["bad"]\n', tmp_path, {"bad": source})
    assert said in found
    assert "test.toml:2:12" in found


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("", "has no subclass of Filter"),
        ("from fws import Filter\nclass A(Filter):\n    def greet(self, c, m): ...\n", "a method for an event"),
        (
            "from fws import Filter\nclass A(Filter):\n    def mesage(self, c, m): ...\n",
            "A.mesage is not a hook: call it message(self, client, message)",
        ),
        (
            "from fws import Filter\nclass A(Filter):\n    def on_message(self, c, m): ...\n",
            "A.on_message is not a hook: call it message(self, client, message)",
        ),
        (
            "from fws import Filter\nclass A(Filter):\n    def on_open(self, c): ...\n",
            "A.on_open is not a hook: call it connect(self, client)",
        ),
        (
            "from fws import Filter\nclass A(Filter):\n    def message(self, c, m): yield m\n",
            "A.message contains yield",
        ),
        ("from fws import Filter\nclass A(Filter):\n    async def connect(self, c): yield\n", "A.connect is async"),
        (
            "from fws import Filter\nclass A(Filter):\n    @staticmethod\n    def message(c, m): ...\n",
            "A.message is a staticmethod: hooks are plain methods",
        ),
        (
            "from functools import partial\nfrom fws import Filter\n"
            "class A(Filter):\n    connect = partial(print, 'x')\n    def message(self, c, m): ...\n",
            "A.connect is a partial: hooks are plain methods",
        ),
        (
            "from fws import Filter\nclass A(Filter):\n    def __init__(self): ...\n    def message(self, c, m): ...\n",
            "a filter has no __init__ (line 2 of bad.py): declare options as fields",
        ),
        (OWN + "\n\nclass Two(Own): ...\n", "has several filters: bad.own, bad.two"),
        (
            "from fws import Filter\nclass A(Filter):\n    def message(self, m): ...\n",
            "A.message must be defined as `def message(self, client, message)`\n",
        ),
        ("from fws import Filter\nclass A(Filter):\n    async def message(self, c, m): ...\n", "A.message is async"),
        ("from fws import Filter\nclass A(Filter):\n    x: 'No' = 1\n    def message(self, c, m): ...\n", "NameError"),
    ],
)
def test_a_module_without_a_usable_filter(source: str, said: str, tmp_path: Path) -> None:
    (found,) = problems('[pipelines]\nmessage = ["bad"]\n', tmp_path, {"bad": source})
    assert said in found


def test_a_broken_module_that_nothing_uses_breaks_nothing(tmp_path: Path) -> None:
    generation = compiled('[pipelines]\nmessage = ["own"]\n', tmp_path, {"own": OWN, "bad": "1 / 0"})
    assert text(generation, "message") == "own"


def test_an_endpoints_event_replaces_the_same_of_pipelines_and_inherits_the_others(tmp_path: Path) -> None:
    toml = """
    [pipelines]
    connect = ["join all"]
    message = ["echo"]
    [endpoints."/a"]
    message = ["drop"]
    [endpoints."/b"]
    connect = []
    """
    generation = compiled(toml, tmp_path)
    assert [text(generation, event, "/a") for event in ("connect", "message")] == ["join all", "drop"]
    assert [text(generation, event, "/b") for event in ("connect", "message")] == ["", "echo"]
    assert [text(generation, event, "/c") for event in ("connect", "message")] == ["join all", "echo"]


def test_without_pipelines_other_paths_are_nobodys(tmp_path: Path) -> None:
    harness = build('[endpoints."/a"]\nmessage = ["echo"]\n', tmp_path)
    harness.connect("/a")
    with pytest.raises(Reject):
        harness.connect("/b")


def test_literal_segments_win_over_parameters(tmp_path: Path) -> None:
    toml = "\n".join(
        f'[endpoints."{path}"]\nmessage = ["own {number}"]'
        for number, path in enumerate(["/{a}/x", "/{a}/{b}", "/y/{b}", "/y/x"])
    )
    generation = compiled(toml, tmp_path)
    assert [text(generation, "message", path) for path in ("/y/x", "/y/z", "/z/x", "/z/z")] == [
        "own 3",
        "own 2",
        "own 0",
        "own 1",
    ]


@pytest.mark.parametrize(
    ("path", "params"),
    [
        ("/r/tea", {"room": "tea"}),
        ("/r/a%2Fb", {"room": "a/b"}),
        ("/r/%C3%BC", {"room": "ü"}),
        ("/r/", None),
        ("/r", None),
        ("/r/a/b", None),
    ],
)
def test_path_parameters_are_checked(path: str, params: dict[str, str] | None, tmp_path: Path) -> None:
    generation = compiled('[endpoints."/r/{room}"]\nconnect = ["join {room}"]\n', tmp_path)
    route = generation.route(path)
    assert (None if route is None else route[1]) == params


@pytest.mark.parametrize("path", ["/r/" + "x" * 201, "/r/a%0Ab"])
def test_a_parameter_that_cannot_be_is_named(path: str, tmp_path: Path) -> None:
    """Fault: a long parameter was refused as a path without an endpoint."""
    generation = compiled('[endpoints."/r/{room}"]\nconnect = ["join {room}"]\n', tmp_path)
    with pytest.raises(Refusal, match="404 The part room of the path"):
        generation.route(path)


def test_placeholders_are_filled_for_each_client_and_instances_shared(tmp_path: Path) -> None:
    harness = build('[endpoints."/r/{room}"]\nconnect = ["join room:{room}"]\nmessage = ["echo"]\n', tmp_path)
    first, second, third = (harness.connect(f"/r/{room}") for room in ("tea", "tea", "{id}"))
    assert [client.channels for client in (first, second, third)] == [{"room:tea"}, {"room:tea"}, {"room:{id}"}]
    held = [next(iter(client.templated.values()))[1] for client in (first, second, third)]
    assert held[0] is held[1]
    assert held[0] is not held[2]


def test_a_placeholder_with_a_value_the_option_cannot_take_fails_closed(tmp_path: Path) -> None:
    harness = build('[endpoints."/r/{rate}"]\nconnect = ["rate_limit {rate} by=address"]\n', tmp_path)
    harness.connect("/r/5%2Fs")
    with pytest.raises(Reject) as refused:
        harness.connect("/r/fast")
    assert refused.value.status == 403
    assert harness.faults == 1


def test_one_instance_for_each_distinct_stage_and_endpoint(tmp_path: Path) -> None:
    toml = """
    [pipelines]
    message = ["own", "own", "own word=other", "both"]
    [endpoints."/a"]
    connect = []
    [chains]
    both = ["own"]
    """
    generation = compiled(toml, tmp_path)
    assert generation.default is not None

    def owners(pipeline: Pipeline) -> list[int]:
        return [id(step.hook.__self__) for step in pipeline.steps]  # type: ignore[attr-defined]

    one, two, three, four = owners(generation.default.message)
    assert one == two == four != three
    assert not set(owners(generation.endpoints[0].message)) & {one, three}


def test_variables_never_change_the_structure(tmp_path: Path) -> None:
    generation = compiled('[pipelines]\nmessage = ["own ${WORD}"]\n', tmp_path, WORD='a wait=9s "x" {room}')
    assert generation.default is not None
    assert generation.default.message.run(None, "said") == 'said a wait=9s "x" {room}'


@pytest.mark.parametrize(
    "toml",
    [
        '"program {text: .a} {client.id} ${KEY}", "echo"]',
        '"made", "echo"]\n[filters.made]\nuse = "program"\nit = "{text: .a} {client.id} ${KEY}"',
    ],
)
def test_a_verbatim_option_gets_variables_and_no_placeholders(toml: str, tmp_path: Path) -> None:
    program = """
from typing import Annotated
from fws import Filter, Help, Takes, Verbatim

class Program(Filter):
    it: Annotated[str, Help("The program."), Takes("rest"), Verbatim()]

    def message(self, client, message):
        return self.it
"""
    toml = "[pipelines]\nmessage = [" + toml
    server = build(toml, tmp_path, pipelines={"program": program}, environ={"KEY": "{key}"})
    client = server.connect()
    server.client_says(client, "")
    assert server.sent(client) == ["{text: .a} {client.id} {key}"]


def test_tables_fill_variables_and_placeholders_too(tmp_path: Path) -> None:
    toml = """
    [endpoints."/{room}"]
    message = ["json", "mark", "echo"]
    [filters.mark]
    use = "set"
    fields = { room = "{room}", from = "${NODE}", level = 3, list = ["{id}"] }
    """
    harness = build(toml, tmp_path, environ={"NODE": "{n1}"})
    client = harness.connect("/tea")
    harness.client_says(client, '{"a":1}')
    assert harness.sent(client) == [f'{{"a":1,"room":"tea","from":"{{n1}}","level":3,"list":["{client.id}"]}}']


def test_branches_of_a_switch_are_pipelines_with_all_rights(tmp_path: Path) -> None:
    toml = """
    [endpoints."/{room}"]
    connect = ["join {room}"]
    message = ["json", "by_type"]
    [filters.by_type]
    use = "switch"
    key = "type"
    default = ["reply 'unknown type'"]
    [filters.by_type.case]
    chat = ["say"]
    deep = ["inner"]
    [filters.inner]
    use = "switch"
    key = "kind"
    case = { a = ["reply inner"] }
    [chains]
    say = ["broadcast {room}"]
    """
    harness = build(toml, tmp_path)
    client = harness.connect("/tea")
    harness.client_says(client, '{"type":"chat"}', '{"type":"x"}', '{"type":"deep","kind":"a"}')
    assert harness.sent(client) == ['{"type":"chat"}', "unknown type", "inner"]


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ('[pipelines]\nmessage = ["eco"]', "did you mean 'echo'"),
        ('[pipelines]\nmessage = ["nothere:echo"]', "no origin 'nothere'"),
        ('[pipelines]\nmessage = ["skip_sender"]', "does not serve message"),
        ('[pipelines]\nmessage = ["own wrd=x"]', "did you mean 'word'"),
        ('[pipelines]\nmessage = ["own wait=5"]', "has no unit"),
        ('[pipelines]\nmessage = ["own wait=-5s"]', "not a duration"),
        ('[pipelines]\nmessage = ["own a 5s b"]', "one argument too many"),
        ('[pipelines]\nmessage = ["rate_limit"]', "needs its option 'rate'"),
        ('[pipelines]\nmessage = ["rate_limit 1/s burst=many"]', "expected a whole number"),
        ('[pipelines]\nmessage = ["rate_limit 1/s burst=0"]', "burst: at least 1"),
        ('[pipelines]\nmessage = ["own {rom}"]', "nothing fills {rom}"),
        ('[pipelines]\nmessage = ["own ${NOT_SET}"]', "NOT_SET is not set"),
        ('[pipelines]\npublication = ["broadcast {id}"]', "a placeholder needs a client"),
        ('[pipelines]\nmessage = ["a"]\n[chains]\na = ["b"]\nb = ["a"]', "contains itself"),
        ('[pipelines]\nmessage = ["a x"]\n[chains]\na = ["echo"]', "takes no arguments"),
        ('[pipelines]\nmessage = ["t x"]\n[filters.t]\nuse = "echo"', "takes no arguments"),
        ('[pipelines]\nmessage = ["t"]\n[filters.t]\nuse = "eco"', "did you mean 'echo'"),
        ('[pipelines]\nmessage = ["t"]\n[filters.t]\nuse = "own"\nwrd = 1', "did you mean 'word'"),
        ('[pipelines]\nmessage = ["t"]\n[filters.t]\nuse = "own"\nword = 1', "expected text"),
        (
            '[pipelines]\nmessage = ["t"]\n[filters.t]\nuse = "switch"\nkey = "k"\ncase = { a = ["t"] }',
            "contains itself",
        ),
        (
            '[pipelines]\nmessage = ["tt"]\n[filters.table]\nuse = "echo"\n[chains]\ntta = ["echo"]',
            "did you mean 'tta'",
        ),
        ('[pipelines]\nmessage = ["echo"]\n[chains]\nunused = ["eco"]', "did you mean 'echo'"),
        ('[pipelines]\nmessage = ["echo"]\n[filters.unused]\nuse = "own"\nword = 1', "expected text"),
        ('[server]\nstatic = "nofolder"\n[pipelines]\nmessage = ["echo"]', "there is no folder 'nofolder'"),
        ('[server]\norigins = ["example.org"]\n[pipelines]\nmessage = ["echo"]', 'write "https://example.org"'),
    ],
)
def test_each_mistake_is_reported_with_a_correction(toml: str, said: str, tmp_path: Path) -> None:
    found = problems(toml, tmp_path)
    assert len(found) == 1, found
    assert said in found[0]
    assert "^" in found[0]


def test_all_problems_at_once_and_in_order(tmp_path: Path) -> None:
    found = problems('[pipelines]\nmessage = ["a", "echo", "b x", "own y=1"]\ndata = ["echo"]\n', tmp_path)
    assert [problem.split(" ")[0] for problem in found] == [
        f"{tmp_path}/test.toml:{place}:" for place in ("2:12", "2:25", "2:37", "3:9")
    ]


@pytest.mark.parametrize("stage", ["eco", "own wrd=x", "own wait=5", "own {rom}", "own ${NOT_SET}", "own a 5s b"])
def test_a_mistake_is_reported_wherever_it_occurs(stage: str, tmp_path: Path) -> None:
    found = problems(f'[pipelines]\nmessage = ["{stage}", "{stage}"]\n', tmp_path)
    assert len(found) == 2


def test_stages_are_checked_even_if_sections_are_invalid(tmp_path: Path) -> None:
    """Fault: an invalid chain or filter hid every problem of the stages, and only the first invalid origin was
    reported.
    """
    toml = """\
    [pipelines]
    message = ["by_type", "guard", "nope"]
    [endpoints."/a"]
    origins = ["example.org", "https://good.example", "https://b/c"]
    [chains]
    guard = 1
    [filters.by_type]
    key = "type"
    """
    found = problems(toml, tmp_path)
    assert [problem.split(" ")[0] for problem in found] == [
        f"{tmp_path}/test.toml:{place}:" for place in ("2:36", "4:16", "4:55", "6:13", "7:14")
    ]


def test_chains_that_double_at_each_level_are_cut_off(tmp_path: Path) -> None:
    chains = "\n".join(f'c{number} = ["c{number + 1}", "c{number + 1}"]' for number in range(40))
    (found,) = problems(f'[pipelines]\nmessage = ["c0"]\n[chains]\n{chains}\nc40 = ["echo"]\n', tmp_path)
    assert "more than 1000 stages" in found


def test_chains_that_are_nested_too_deep(tmp_path: Path) -> None:
    chains = "\n".join(f'c{number} = ["c{number + 1}"]' for number in range(600))
    found = problems(f'[pipelines]\nmessage = ["c0"]\n[chains]\n{chains}\nc600 = ["echo"]\n', tmp_path)
    assert all("nested more than 50 deep" in problem for problem in found)


def test_warnings_do_not_stop_anybody(tmp_path: Path) -> None:
    toml = """
    [server]
    origins = ["*"]
    [pipelines]
    message = ["echo"]
    [chains]
    unused = ["echo"]
    """
    warnings = [problem.message for problem in compiled(toml, tmp_path).warnings]
    assert len(warnings) == 2
    assert "every web page may connect" in warnings


def test_a_problem_of_an_inherited_setting_is_reported_once(tmp_path: Path) -> None:
    """Fault: a problem of [server] was reported again for each endpoint, with the place of its header."""
    endpoints = "[endpoints.'/a']\nmessage = ['echo']\n[endpoints.'/b']\nmessage = ['echo']\n"
    (found,) = problems(f"[server]\norigins = ['*', 'example.org']\n{endpoints}", tmp_path)
    assert ":2:17: 'example.org' is not an origin" in found
    (warning,) = compiled(f"[server]\norigins = ['*']\n{endpoints}", tmp_path).warnings
    assert ":2:11: every web page may connect" in str(warning)


def test_a_time_limit_of_whoever_stops_the_filters_is_none_of_theirs(tmp_path: Path) -> None:
    """Fault: the limit of a drain became the failure of one filter, and those after it had no limit any more."""
    stuck = """
import gevent
from fws import Filter


class Stuck(Filter):
    def stop(self):
        gevent.sleep(5)

    def message(self, client, message):
        return message
"""
    harness = build('[pipelines]\nmessage = ["stuck"]\n', tmp_path, pipelines={"stuck": stuck})
    with pytest.raises(gevent.Timeout), gevent.Timeout(0.01):
        harness.generation.stop()


def test_filters_start_and_stop_with_the_server(tmp_path: Path) -> None:
    clockwork = '''
from fws import Filter

seen = []


class Clockwork(Filter):
    """Notes what happens."""

    def start(self):
        seen.append("start")

    def stop(self):
        seen.append("stop")

    def message(self, client, message):
        return " ".join(seen)
'''
    harness = build('[pipelines]\nmessage = ["clockwork", "echo"]\n', tmp_path, pipelines={"clockwork": clockwork})
    harness.generation.start()
    client = harness.connect()
    harness.client_says(client, "x")
    harness.generation.stop()
    harness.client_says(client, "x")
    assert harness.sent(client) == ["start", "start stop"]


EXAMPLE = """
[limits]
max_message = "64KiB"
[pipelines]
connect = ["join lobby"]
message = ["guard", 'when type == "chat"', "by_type", "broadcast lobby to=others"]
[endpoints."/chat/{room}"]
connect = ["join {room}", "reply '{time}'"]
[chains]
guard = ["rate_limit 20/s burst=40", "json on_error=reply"]
[filters.by_type]
use = "switch"
key = "type"
case = { chat = ["set room=x"], kick = ["close 4000"] }
"""
PIECES = [
    "{",
    "}",
    "[",
    "]",
    '"',
    "'",
    "=",
    ".",
    "\n",
    " ",
    "${A}",
    "{room}",
    "guard",
    "by_type",
    "case",
    "use",
    "\\",
    "5",
    ",",
]


@pytest.mark.slow
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            st.integers(0, len(EXAMPLE)),
            st.integers(0, 6),
            st.one_of(st.sampled_from(PIECES), st.text(alphabet=string.printable, max_size=4)),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_any_text_compiles_or_has_problems_with_places(tmp_path: Path, edits: list[tuple[int, int, str]]) -> None:
    toml = EXAMPLE
    for at, length, insert in edits:
        toml = toml[:at] + insert + toml[at + length :]
    file = tmp_path / "mutated.toml"
    file.write_text(toml, newline="")
    try:
        load_generation(file, environ={})
    except ConfigError as error:
        assert error.problems
        for problem in error.problems:
            assert problem.place is not None
            assert problem.place.line <= toml.count("\n") + toml.count("\r") + 1
            assert str(problem)


def test_a_token_of_the_command_line_that_admits_nobody_is_a_warning(tmp_path: Path) -> None:
    """Users of --token could believe that it is accepted where the file has its own tokens."""
    file = tmp_path / "test.toml"
    file.write_text("""
[pipelines]
connect = ["join lobby"]
[endpoints."/variable"]
connect = ["token"]
[endpoints."/own"]
connect = ["token ${OWN}", "join lobby"]
""")
    environ = {"FWS_TOKEN": "given", "OWN": "another"}
    generation = load_generation(file, environ=environ, login=TOKEN_LOGIN)
    assert [problem.message for problem in generation.warnings] == ["--token admits nobody at /own"]
    assert not load_generation(file, environ=environ).warnings


def test_the_stages_of_an_endpoint_with_an_invalid_path_are_checked_too(tmp_path: Path) -> None:
    """Fault: they were skipped, so that their problems appeared only after the path had been corrected."""
    toml = '[endpoints."/r/:room"]\nconnect = ["tokn", "join {room}"]\nmessage = ["brodcast {roam}"]\n'
    found = problems(toml, tmp_path)
    assert len(found) == 3, "and {room} is not a problem, because the path means it"
    assert 'write "{room}"' in found[0]
    assert "there is no filter 'tokn'" in found[1]
    assert "there is no filter 'brodcast'" in found[2]
