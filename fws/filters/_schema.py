"""Compiles JSON Schemas from files: local references only, and messages that say where a schema is wrong."""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import quote, unquote, urlsplit

import jsonschema_rs
import msgspec

# Bytes of one file, and bytes of a compiled pattern.
MAX_FILE = 1024 * 1024
MAX_PATTERN = 1024 * 1024
# Characters of what a client is told, and of where. Names of fields are the client's own.
MAX_REASON = 200
MAX_AT = 200

# What holds data, and no schemas.
_DATA = ("const", "enum", "default", "examples")
# Matching takes linear time, whatever the pattern and the text are. The other engine goes back and tries again.
_PATTERNS = jsonschema_rs.RegexOptions(size_limit=MAX_PATTERN, dfa_size_limit=MAX_PATTERN)
_DIALECT = re.compile(r"https?://json-schema\.org/(draft-0[467]|draft/2019-09|draft/2020-12)/schema#?")
_PATTERN_HINT = "this is not a pattern, is too large, or uses a lookaround or a backreference, which take too long"


class CompiledSchema(msgspec.Struct, frozen=True):
    """A schema that messages can be checked with.

    Attributes:
        files: what it was read from.
    """

    valid: jsonschema_rs.Validator
    explaining: jsonschema_rs.Validator
    files: tuple[Path, ...]

    def problem(self, value: Any) -> tuple[str, str] | None:
        """What is wrong with a value, and its JSON pointer; None if it matches. The time grows with the value's size.

        Both texts are short, and the first contains no value of a client.
        """
        try:
            if self.valid.is_valid(value):
                return None
            self.explaining.validate(value)
        except jsonschema_rs.ValidationError as error:
            return _reason(error)[:MAX_REASON], pointer(error.instance_path)[:MAX_AT]
        except ValueError:
            return "this is no value of JSON", ""
        return "this value does not match the schema", ""


def compile_schema(folder: Path, file: str) -> CompiledSchema:
    """Compile the schema in a file below a folder.

    Raises:
        OSError: the file cannot be read.
        ValueError: says what is wrong, with the file and the place in it.
    """
    documents = _Documents(folder)
    uri = f"file:///{quote(file)}"
    schema = documents.read(uri)
    options: dict[str, Any] = {
        "base_uri": uri,
        "pattern_options": _PATTERNS,
        "validate_formats": True,
        "ignore_unknown_formats": False,
    }
    try:
        valid = jsonschema_rs.validator_for(schema, retriever=documents.retrieve, **options)
        # The text of an error then has no value of a client.
        explaining = jsonschema_rs.validator_for(
            _brief(schema), retriever=lambda uri: _brief(documents.retrieve(uri)), mask="this value", **options
        )
    except jsonschema_rs.ValidationError as error:
        if documents.problem:
            raise ValueError(documents.problem) from None
        _fail(file, error)
    return CompiledSchema(valid, explaining, documents.files)


class _Documents:
    """The files that a schema refers to.

    Attributes:
        problem: what was wrong with a file that the library asked for.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()
        self._read: dict[Path, Any] = {}
        self.problem = ""

    @property
    def files(self) -> tuple[Path, ...]:
        return tuple(self._read)

    def retrieve(self, uri: str) -> Any:
        """Called by the library with the absolute URI of a reference."""
        try:
            return self.read(uri)
        except OSError as error:
            self.problem = self.problem or f"$ref to {uri.removeprefix('file:///')}: {error.strerror}"
        except ValueError as error:
            self.problem = self.problem or str(error)
        raise ValueError(self.problem)

    def read(self, uri: str) -> Any:
        """The document of a URI. The library has already removed `..`, and the folder is the root of all files."""
        parts = urlsplit(uri)
        if parts.scheme != "file" or parts.netloc:
            raise ValueError(
                f"$ref to {uri}: schemas are read from files next to the TOML file only: write a relative path, and no "
                "$id with another address"
            )
        name = unquote(parts.path).lstrip("/")
        path = (self._folder / name).resolve()
        if not path.is_relative_to(self._folder):
            raise ValueError(f"{name} is outside of the folder of the TOML file, and schemas must be in it")
        if path not in self._read:
            self._read[path] = _document(path, name)
        return self._read[path]


def _document(path: Path, name: str) -> Any:
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError(f"{name} is not a regular file")
    with open(path, "rb") as file:
        data = file.read(MAX_FILE + 1)
    if len(data) > MAX_FILE:
        raise ValueError(f"{name} has more than {MAX_FILE} bytes")
    try:
        document = json.loads(data.decode("utf-8-sig"))
        _check_dialects(document, name)
        jsonschema_rs.meta.validate(document)
    except json.JSONDecodeError as error:
        raise ValueError(f"{name}, line {error.lineno}, column {error.colno}: {error.msg}") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{name} is not UTF-8, from byte {error.start} on") from None
    except RecursionError:
        raise ValueError(f"{name} is nested too deep") from None
    except jsonschema_rs.ValidationError as error:
        _fail(name, error)
    return document


def _check_dialects(schema: Any, name: str) -> None:
    """Refuse dialects that the library does not have. It would ask the network for them."""
    if isinstance(schema, list):
        for item in schema:
            _check_dialects(item, name)
    elif isinstance(schema, dict):
        dialect = schema.get("$schema")
        if isinstance(dialect, str) and not _DIALECT.fullmatch(dialect):
            known = "https://json-schema.org/draft/2020-12/schema"
            raise ValueError(
                f"{name}: the dialect {dialect[:MAX_AT]} is not known: write {known}, or leave out $schema"
            )
        for key, value in schema.items():
            if key not in _DATA:
                _check_dialects(value, name)


def _fail(name: str, error: jsonschema_rs.ValidationError) -> NoReturn:
    text = _PATTERN_HINT if error.message.endswith('is not a "regex"') else error.message
    raise ValueError(f"{name}, at {pointer(error.instance_path) or '/'}: {text[:MAX_REASON]}") from None


def pointer(path: Iterable[str | int]) -> str:
    """A JSON pointer (RFC 6901): `/items/0/name`."""
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in path)


def _brief(schema: Any) -> Any:
    """A schema of which the library does not collect the errors of alternatives.

    In `anyOf` and `oneOf` it would list the errors of each branch, and of the branches in these. Where a schema refers
    to itself, a small message could take up the memory. Under `not` it only asks whether a value is valid.
    """
    if isinstance(schema, list):
        return [_brief(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    brief = {key: value if key in _DATA else _brief(value) for key, value in schema.items()}
    for word in ("anyOf", "oneOf"):
        if isinstance(brief.get(word), list):
            alternatives = {"not": {"not": {word: brief.pop(word)}}}
            brief["allOf"] = [*brief.get("allOf", []), alternatives]
    return brief


def _reason(error: jsonschema_rs.ValidationError) -> str:
    match error.kind.name:
        case "not":
            schema = getattr(error.kind, "schema", None)
            inner = schema.get("not", {}) if isinstance(schema, dict) else {}
            if "oneOf" in inner:
                return "this value does not match exactly one of the alternatives"
            return f"this value {'matches none of the alternatives' if 'anyOf' in inner else 'is not allowed'}"
        case "unevaluatedProperties":
            return "this value has fields that are not allowed"
        case "unevaluatedItems":
            return "this value has items that are not allowed"
    return error.message
