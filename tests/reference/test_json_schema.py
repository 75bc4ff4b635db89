"""The JSON Schema accepts what the reader accepts."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fws.base.units import parse_duration, parse_rate, parse_size
from fws.compiler.registry import Found, Registry
from fws.config import parse, read
from fws.config.sections import SHARED
from fws.pipeline.events import CLIENT_EVENTS
from fws.pipeline.options import options_of
from fws.reference.json_schema import json_schema
from fws.reference.pages import doc_of

ROOT = Path(__file__).parents[2]
BUILT_IN = [found for found in Registry().all() if isinstance(found, Found)]

# A small validator of our own. It refuses keywords that it does not know, so a new keyword needs a new line.


def faults(schema: Any, value: Any, root: dict[str, Any], path: str = "") -> list[str]:
    """The places where `value` violates the schema; empty without any."""
    if isinstance(schema, bool):
        return [] if schema else [path]
    found: list[str] = []
    for keyword, wanted in schema.items():
        match keyword:
            case "$ref":
                found += faults(root["$defs"][wanted.removeprefix("#/$defs/")], value, root, path)
            case "type":
                found += [] if is_a(value, wanted) else [path]
            case "enum":
                found += [] if value in wanted else [path]
            case "pattern":
                found += [path] if isinstance(value, str) and not fits(wanted, value) else []
            case "items" if isinstance(value, list):
                found += [fault for item in value for fault in faults(wanted, item, root, f"{path}[]")]
            case "required" if isinstance(value, dict):
                found += [f"{path}.{name}" for name in wanted if name not in value]
            case "propertyNames" if isinstance(value, dict):
                found += [fault for name in value for fault in faults(wanted, name, root, f"{path}.{name}")]
            case "properties" if isinstance(value, dict):
                for name in wanted.keys() & value.keys():
                    found += faults(wanted[name], value[name], root, f"{path}.{name}")
            case "patternProperties" if isinstance(value, dict):
                for pattern, inner in wanted.items():
                    for name in (name for name in value if fits(pattern, name)):
                        found += faults(inner, value[name], root, f"{path}.{name}")
            case "additionalProperties" if isinstance(value, dict):
                patterns = schema.get("patternProperties", {})
                for name in value.keys() - schema.get("properties", {}).keys():
                    if not any(fits(pattern, name) for pattern in patterns):
                        found += faults(wanted, value[name], root, f"{path}.{name}")
            case "anyOf":
                found += [] if any(not faults(one, value, root, path) for one in wanted) else [path]
            case "allOf":
                found += [fault for one in wanted for fault in faults(one, value, root, path)]
            case "if":
                found += [] if faults(wanted, value, root, path) else faults(schema["then"], value, root, path)
            case "items" | "required" | "propertyNames" | "properties" | "patternProperties" | "additionalProperties":
                pass
            case "then" | "$schema" | "$defs" | "title" | "description" | "default" | "examples" | "deprecated":
                pass
            case _:
                raise AssertionError(f"a keyword that this validator does not know: {keyword}")
    return found


def fits(pattern: str, text: str) -> bool:
    """As in a schema, `$` is the very end. Python's `$` would let a line feed follow."""
    return re.search(pattern.replace("$", r"\Z"), text) is not None


def is_a(value: Any, kind: str) -> bool:
    kinds: dict[str, type | tuple[type, ...]] = {
        "object": dict,
        "array": list,
        "string": str,
        "boolean": bool,
        "integer": int,
        "number": (int, float),
    }
    return isinstance(value, kinds[kind]) and (kind == "boolean" or not isinstance(value, bool))


SCHEMA = json_schema(Registry(ROOT))


@pytest.mark.parametrize("conf", sorted(ROOT.glob("conf/*.toml")), ids=lambda conf: conf.name)
def test_the_schema_accepts_the_shipped_files(conf: Path) -> None:
    assert faults(SCHEMA, tomllib.loads(conf.read_text()), SCHEMA) == []


@pytest.mark.parametrize("found", BUILT_IN, ids=lambda found: found.name)
def test_the_schema_takes_the_examples_of_the_filters(found: Found) -> None:
    text = doc_of(found.cls).example
    tables = text if text.startswith("[") else f"[pipelines]\n{text}"
    assert faults(SCHEMA, tomllib.loads(tables), SCHEMA) == []


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("[servers]", ".servers"),
        ("[server]\nlistne = 'x'", ".server.listne"),
        ("[limits]\nmax_message = 5", ".limits.max_message"),
        ("[limits]\nmax_message = '5'", ".limits.max_message"),
        ("[server]\ncompression = 'yes'", ".server.compression"),
        ("[server]\norigins = 'x'", ".server.origins"),
        ("[redis]\nhost = 'x'", ".redis.host"),
        ("[channels.a]\nhistory = 'x'", ".channels.a.history"),
        ("[pipelines]\nmesage = []", ".pipelines.mesage"),
        ("[pipelines]\nmessage = 'echo'", ".pipelines.message"),
        ("[pipelines]\nmessage = [{ use = 'echo' }]", ".pipelines.message[]"),
        ("[pipelines]\nmessage = ['']", ".pipelines.message[]"),
        ("[endpoints.a]", ".endpoints.a"),
        ("[endpoints.'/a']\npublication = []", ".endpoints./a.publication"),
        ("[endpoints.'/a']\nlisten = 'x'", ".endpoints./a.listen"),
        ("[chains]\na = 'echo'", ".chains.a"),
        ("[chains]\nA = ['echo']", ".chains.A"),
        ("[filters.a]", ".filters.a.use"),
        ("[filters.a]\nuse = 'rate_limit'", ".filters.a.rate"),
        ("[filters.a]\nuse = 'rate_limit'\nrate = 20", ".filters.a.rate"),
        ("[filters.a]\nuse = 'fws:rate_limit'\nrate = '20/s'\nstore = 'none'", ".filters.a.store"),
        ("[filters.a]\nuse = 'echo'\nloud = true", ".filters.a.loud"),
        ("[filters.a]\nuse = 'switch'\nkey = 'k'\ncase = { x = 'echo' }", ".filters.a.case.x"),
        ("[filters.a]\nuse = 'nonsense'", ".filters.a.use"),
    ],
)
def test_the_schema_refuses_files_that_the_loader_refuses(text: str, place: str) -> None:
    tree = tomllib.loads(text) | ({} if "[pipelines]" in text else {"pipelines": {"message": ["echo"]}})
    assert faults(SCHEMA, tree, SCHEMA) == [place]


def test_the_schema_accepts_variables() -> None:
    text = """
    [server]
    compression = "${COMPRESS:-false}"
    drain = "${DRAIN}"
    [endpoints."/{room}"]
    max_message = "${MAX:-64KiB}"
    [filters.limit]
    use = "rate_limit"
    rate = "${RATE:-20/s}"
    burst = "${BURST:-40}"
    by = "{state.by}"
    """
    assert faults(SCHEMA, tomllib.loads(text), SCHEMA) == []


def test_the_schema_accepts_the_former_name_of_an_option_and_marks_it() -> None:
    tree = tomllib.loads("[filters.a]\nuse = 'token'\nusers = 'u'\none_time = true\n[pipelines]\nmessage = ['echo']")
    assert faults(SCHEMA, tree, SCHEMA) == []
    cases = SCHEMA["properties"]["filters"]["additionalProperties"]["allOf"]
    (table,) = (case["then"]["properties"] for case in cases if "token" in case["if"]["properties"]["use"]["enum"])
    assert table["one_time"] == {**table["once"], "deprecated": True}


def test_a_file_needs_pipelines_or_endpoints() -> None:
    assert faults(SCHEMA, {}, SCHEMA) == [""]
    assert faults(SCHEMA, {"endpoints": {}}, SCHEMA) == []


def test_the_schema_offers_each_filter_and_describes_each_setting() -> None:
    use, _ = SCHEMA["properties"]["filters"]["additionalProperties"]["properties"]["use"]["anyOf"]
    assert {"rate_limit", "chat.commands"} < set(use["enum"])
    server = SCHEMA["properties"]["server"]["properties"]
    assert server["drain"]["default"] == "25s"
    assert all(setting["description"] for setting in server.values())
    endpoint = SCHEMA["properties"]["endpoints"]["patternProperties"]["^/"]["properties"]
    own = {option.name for cls in SHARED for option in options_of(cls)}
    assert set(endpoint) == own | set(CLIENT_EVENTS)


QUANTITIES = {"duration": parse_duration, "size": parse_size, "rate": parse_rate}
TEXTS = st.from_regex(
    r"\s?[0-9]{1,4}(\.[0-9])?\s?/?\s?(ms|s|m|min|h|d|B|KiB|MiB|GiB|kB|KB|MB|GB|k|S|x)?\s?", fullmatch=True
)


@given(TEXTS)
def test_patterns_of_quantities_match_the_parsers(text: str) -> None:
    for name, read_quantity in QUANTITIES.items():
        refusal = ""
        try:
            read_quantity(text)
        except ValueError as error:
            refusal = str(error)
        if not re.search("out of range|whole number", refusal):
            assert bool(faults({"$ref": f"#/$defs/{name}"}, text, SCHEMA)) == bool(refusal), text


@pytest.mark.parametrize("name", ["a", "a_1", "A", "1a", "a-b", "a.b", "", "ä", "a\n"])
def test_names_of_chains_are_those_that_the_loader_takes(name: str) -> None:
    tree = {"pipelines": {"message": ["echo"]}, "chains": {name: ["echo"]}}
    document = parse(f"[pipelines]\nmessage = ['echo']\n[chains]\n{toml_key(name)} = ['echo']\n", "x.toml")
    _, problems = read(document, {})
    assert bool(faults(SCHEMA, tree, SCHEMA)) == bool(problems)


def toml_key(name: str) -> str:
    return '"' + name.replace("\n", "\\n") + '"'
