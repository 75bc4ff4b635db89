"""Valid files, and the messages about invalid ones."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from fws.base.problem import Problem
from fws.config import Config, Server, Settings, parse, place_problems, read
from fws.config.sections import SECTIONS, Section
from fws.pipeline.options import options_of
from fws.wire.frames import MAX_FRAGMENTS


def config_of(text: str, environ: Mapping[str, str] | None = None) -> Config:
    config, problems = read(parse(text, "dir/conf.toml"), environ or {})
    assert problems == []
    return config


def problems_of(text: str, environ: Mapping[str, str] | None = None) -> list[Problem]:
    document = parse(text, "conf.toml")
    return place_problems(read(document, environ or {})[1], document.source)


def only(text: str, environ: Mapping[str, str] | None = None) -> tuple[int, int, str, str]:
    """Line, column, message and hint of the one problem of a text."""
    (problem,) = problems_of(text, environ)
    assert problem.place is not None
    return problem.place.line, problem.place.column, problem.message, problem.hint


ECHO = '[pipelines]\nmessage = ["echo"]\n'


def test_a_file_of_one_pipeline_has_all_the_defaults() -> None:
    config = config_of(ECHO)
    server, limits = config.server, config.limits
    assert (server.listen, server.static) == ("127.0.0.1:9000", "")
    assert (limits.handshake_timeout, limits.close_timeout, server.drain) == (10, 5, 25)
    assert (limits.ping_interval, limits.ping_timeout) == (25, 10)
    assert (limits.max_message, limits.max_outbox, limits.max_fragments) == (1024**2, 1024**2, MAX_FRAGMENTS)
    assert (server.origins, server.subprotocols, server.compression) == ([], [], False)
    assert config.redis.url == ""
    assert config.pipelines == {"message": ["echo"]}
    assert str(config.folder) == "dir"


def test_every_part_of_the_grammar_arrives() -> None:
    config = config_of(
        """
        [server]
        listen = "${LISTEN:-unix:/run/fws}"
        compression = true
        drain = "1500ms"
        [limits]
        max_message = "64KiB"
        [redis]
        url = "${REDIS_URL:-}"
        [pipelines]
        publication = ["log ${NOT_FILLED_HERE}"]
        [endpoints."/chat/{room}/{_x9}"]
        subprotocols = ["v1.${NAME}"]
        message = ["guard"]
        [endpoints."/"]
        compression = false
        max_message = "1KiB"
        [chains]
        guard = ["json"]
        [filters.by_type]
        use = "switch"
        text = "${NOT_FILLED_HERE}"
        case = { a = ["drop"] }
        [channels."chat:*"]
        history = 100
        """,
        {"NAME": "chat"},
    )
    assert config.server.listen == "unix:/run/fws"
    assert config.server.drain == 1.5
    assert config.pipelines == {"publication": ["log ${NOT_FILLED_HERE}"]}
    chat, root = config.endpoints
    assert (chat.path, chat.events) == ("/chat/{room}/{_x9}", {"message": ["guard"]})
    assert chat.settings.subprotocols == ["v1.chat"]
    assert config.chains == {"guard": ["json"]}
    assert config.filters["by_type"] == {"use": "switch", "text": "${NOT_FILLED_HERE}", "case": {"a": ["drop"]}}
    assert config.channels.settings["chat:*"].history == 100
    # [server] and [limits] set for all, an endpoint replaces single ones.
    assert (chat.bounds.max_message, chat.settings.compression) == (65536, True)
    assert (root.bounds.max_message, root.settings.compression) == (1024, False)


def test_a_variable_may_hold_any_type_but_no_structure() -> None:
    text = '[server]\ncompression = "${ON}"\nstatic = "${S}"\n[limits]\nmax_fragments = "${N}"\n' + ECHO
    config = config_of(text, {"ON": "true", "N": "7", "S": '"]\n[x]'.replace("\n", " ")})
    assert (config.server.compression, config.limits.max_fragments, config.server.static) == (True, 7, '"] [x]')


@pytest.mark.parametrize(
    ("text", "line", "column", "message", "hint"),
    [
        ("[sever]\n", 1, 2, "unknown section 'sever'", "did you mean 'server'?"),
        ("message = ['echo']\n", 1, 1, "unknown key 'message'", "[pipelines]"),
        ("listen = ':1'\n", 1, 1, "unknown key 'listen'", "[server]"),
        ("server = 1\n", 1, 1, "expected a section", "[server]"),
        ("[server]\nlisen = 1\n", 2, 1, "unknown key 'lisen'", "did you mean 'listen'?"),
        ("[server]\nlisten = 9000\n", 2, 10, "expected text, not 9000", "Where to listen"),
        ("[server]\nlisten = '9000'\n", 2, 10, "only a port", "Where to listen"),
        ("[server]\ncompression = 1\n", 2, 15, "expected true or false, not 1", "permessage-deflate"),
        ("[server]\ndrain = 30\n", 2, 9, "expected a duration in quotes", "At shutdown"),
        ("[server]\ndrain = '30'\n", 2, 9, "has no unit", "At shutdown"),
        ("[server]\ndrain = '0s'\n", 2, 9, "expected duration above 0s, not '0s'", "At shutdown"),
        ("[server]\ndrain = '-1s'\n", 2, 9, "is not a duration", "At shutdown"),
        ("[limits]\nmax_message = '124B'\n", 2, 15, "expected size of at least 125B", "largest"),
        ("[limits]\nmax_message = '2GiB'\n", 2, 15, "expected size of at most 1GiB", "largest"),
        ("[limits]\nmax_outbox = '0B'\n", 2, 14, "expected size of at least 1B", "slow consumer"),
        ("[limits]\nmax_fragments = 0\n", 2, 17, "expected a whole number of at least 1, not 0", "frames"),
        ("[limits]\nmax_fragments = true\n", 2, 17, "expected a whole number, not True", "frames"),
        ("[server]\norigins = 'x'\n", 2, 11, "expected list of text", "Pages"),
        ("[server]\norigins = [1]\n", 2, 11, "expected list of text", "Pages"),
        ("[server]\nsubprotocols = ['a b']\n", 2, 16, "'a b' is not a subprotocol", "offer"),
        ('[server]\nstatic = "\\u0000"\n', 2, 10, "control characters", "Folder"),
        ("[server]\nlisten = 'a${X}'\n", 2, 12, "the variable X is not set", "${X:-default}"),
        ("[server]\norigins = ['a', 'b${X}']\n", 2, 19, "the variable X is not set", "${X:-default}"),
        ("[server]\nlisten = '${1}'\n", 2, 10, "'${' begins no variable", "${NAME}"),
        ("[redis]\nurl = 5\n", 2, 7, "expected text, not 5", "address"),
        ("[redis]\nuri = 'x'\n", 2, 1, "unknown key 'uri'", "did you mean 'url'?"),
        (
            "[channels.a]\nhistory = -1\n",
            2,
            11,
            "expected a whole number of at least 0, not -1",
            "number of publications",
        ),
        ("[channels]\na = 1\n", 2, 1, "expected a table", "[channels.a]"),
        ("[pipelines]\nmesage = []\n", 2, 1, "unknown event 'mesage'", "did you mean 'message'?"),
        ("[pipelines]\norigins = []\n", 2, 1, "unknown event 'origins'", "[server]"),
        ("[pipelines]\nmessage = 'echo'\n", 2, 11, "expected a list of stages, each a string", ""),
        ("[pipelines]\nmessage = ['echo', ' ']\n", 2, 20, "an empty stage", "a filter's name"),
        ("[pipelines]\nmessage = [1, 2]\n", 2, 12, "expected a stage, which is a string", ""),
        ("[pipelines]\nmessage = [{use = 'x'}]\n", 2, 12, "expected a stage, which is a string", "[filters.NAME]"),
        ("[endpoints]\n'/a' = 1\n", 2, 1, "expected a table", '[endpoints."/a"]'),
        ("[endpoints.chat]\n", 1, 12, "begins with a slash", '"/chat"'),
        ("[endpoints.'/a']\npublication = []\n", 2, 1, "once per process, not per endpoint", "[pipelines]"),
        ("[endpoints.'/a']\nlisten = ''\n", 2, 1, "listen is a setting of the whole server", "[server]"),
        ("[endpoints.'/a']\norigin = []\n", 2, 1, "unknown key 'origin'", "did you mean 'origins'?"),
        ("[endpoints.'/a']\nmessage = 1\n", 2, 11, "expected a list of stages", ""),
        ("[endpoints.'/a']\nmax_message = '1B'\n", 2, 15, "at least 125B", "largest"),
        ("[endpoints.'/a/x{b}']\n", 1, 12, "'x{b}' is not a parameter", "all between two slashes"),
        ("[endpoints.'/a/{B}']\n", 1, 12, "'{B}' is not a parameter", "a-z"),
        ("[endpoints.'/a/{}']\n", 1, 12, "'{}' is not a parameter", "a-z"),
        ("[endpoints.'/{a}/{a}']\n", 1, 12, "the parameter {a} occurs twice", ""),
        ("[endpoints.'/a?b=1']\n", 1, 12, "no request has this path", "query"),
        ("[endpoints.'/a%20b']\n", 1, 12, "no request has this path", "themselves"),
        ("[endpoints.'/{a}/x']\n[endpoints.'/{b}/x']\n", 2, 12, 'the same requests as "/{a}/x"', "one of the two"),
        ("[chains]\nA = []\n", 2, 1, "'A' cannot be used as a stage", "a-z"),
        ("[chains]\na = 'echo'\n", 2, 5, "expected a list of stages", ""),
        ("[chains]\na = ['']\n", 2, 6, "an empty stage", "a filter's name"),
        ("[filters]\na = 1\n", 2, 1, "expected a table", "[filters.a]"),
        ("[filters.a]\nkey = 1\n", 1, 10, "[filters.a] has no 'use'", "use ="),
        ("[filters.a]\nuse = 1\n", 2, 7, "expected a filter's name", ""),
        ("[filters.'a.b']\nuse = 'x'\n", 1, 10, "'a.b' cannot be used as a stage", "a-z"),
        ("[chains]\na = []\n[filters.a]\nuse = 'x'\n", 3, 10, "there is also a chain 'a'", "rename"),
    ],
)
def test_each_problem_has_its_place_and_a_correction(
    text: str, line: int, column: int, message: str, hint: str
) -> None:
    problems = problems_of(text)
    first = problems[0]
    assert first.place is not None
    assert (first.place.line, first.place.column) == (line, column)
    assert message in first.message
    assert hint in first.hint


@pytest.mark.parametrize("text", ["", "[pipelines]\n", "[endpoints]\n", "[server]\nlisten = ':1'\n"])
def test_a_file_that_serves_nobody_is_refused(text: str) -> None:
    line, column, message, hint = only(text)
    assert (line, column) == (0, 0)
    assert "neither [pipelines] nor [endpoints]" in message
    assert 'message = ["echo"]' in hint


def test_all_problems_of_a_file_are_reported_at_once_in_its_order() -> None:
    text = """\
[pipelines]
mesage = []
connect = [5]
message = ["echo", " ", ""]
[server]
drain = "1"
listen = "${X}"
[endpoints."a"]
foo = 1
[nonsense]
"""
    lines = [problem.place.line for problem in problems_of(text) if problem.place]
    assert lines == [2, 3, 4, 4, 6, 7, 8, 9, 10]


def test_a_problem_is_reported_once() -> None:
    source = parse(ECHO, "conf.toml").source
    problem = Problem("twice", ("pipelines", "message", 0))
    assert len(place_problems([problem, problem], source)) == 1


def test_stages_are_checked_even_if_a_setting_is_invalid() -> None:
    config, problems = read(parse("[server]\ndrain = 1\n[pipelines]\nmessage = ['echo', ' ']\n", "f"), {})
    assert len(problems) == 2
    assert config.server.drain == 25
    assert config.pipelines == {"message": ["echo", " "]}


def test_the_name_of_an_invalid_chain_or_filter_stays_known() -> None:
    """Otherwise the stages that name it would be reported as invalid too."""
    config, problems = read(parse(ECHO + "[chains]\na = 1\n[filters]\nc = 1\n[filters.b]\n", "f"), {})
    assert len(problems) == 3
    assert (config.chains, config.filters) == ({"a": []}, {"b": {}, "c": {}})


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.name)
def test_the_example_of_a_section_is_valid(section: Section) -> None:
    text = section.example
    environ = {"FWS_API_KEY": "k" * 32, "SHOP_API_KEY": "s" * 32}
    config = config_of(text if section.name in ("pipelines", "endpoints") else f"{text}\n{ECHO}", environ)
    assert getattr(config, section.field)


@pytest.mark.parametrize(
    ("text", "section"),
    [
        ("[server]\nping_interval = '5s'\n", "[limits]"),
        ("[server]\ncert = 'a.pem'\n", "[server.tls]"),
        ("[limits]\nurl = 'redis://a'\n", "[redis]"),
    ],
)
def test_an_option_in_the_wrong_section_is_sent_to_its_own(text: str, section: str) -> None:
    assert problems_of(text)[0].hint == f"write it below {section}"


@pytest.mark.parametrize("section", [Settings, Server])
def test_every_option_of_a_section_explains_itself(section: type) -> None:
    for option in options_of(section):
        assert option.help.endswith(".")
        assert not option.required


def test_a_number_beyond_all_types_is_refused_without_a_traceback() -> None:
    """Fault: `repr` of a number with over 4,300 digits raises."""
    (problem,) = problems_of("[limits]\nmax_fragments = '" + "9" * 5000 + "'\n")
    assert "expected a whole number" in problem.message
