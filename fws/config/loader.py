"""Reads a TOML file twice, with `toml` and the standard library's `tomllib`, and refuses what they read differently.

`toml` 0.10.2 has bugs: it crashes on lists that mix strings and inline tables, or silently drops items from them, and
after some multi-line strings it loses the rest of the file. A dropped filter can be a security hole. So `tomllib` gives
the tree, and a file that `toml` reads differently is refused.

The transcripts in `[[test]]` sections are read by `tomllib` alone: nothing of them is ever served, and their JSON has
the very quotes that `toml` misreads.

The time that both take grows with the square of some lengths. A mebibyte can take minutes, so the input is limited.
"""

from __future__ import annotations

import codecs
import datetime
import math
import os
import re
import stat
import tomllib
from collections.abc import Iterator
from typing import Any

import msgspec
import toml

from fws.base.errors import ConfigError
from fws.base.problem import Path, Problem, dotted
from fws.base.tree import leaves
from fws.config.source import Source

# The key of the transcripts.
TESTS = "test"
_TEST_HEADER = re.compile(r"\[\[?\s*test\s*[.\]]")
# Enough for 2,000 endpoints. Both readers together take half a second for it.
MAX_FILE = 256 * 1024
# The depth of nested brackets. `toml` reads the content of n brackets n times. No option is deeper than three.
MAX_DEPTH = 4
# The time of `toml` grows with the square of each statement's length and of the number of tables. This is the limit on
# the sum of these squares. It allows one value of 8 KiB, 8,192 tables, or 256 KiB in statements of 256 characters.
MAX_WORK = 8192**2
# The time of `tomllib` (Python 3.11) grows with the square of the number of parts in a dotted key.
MAX_KEY_PARTS = 16
_PART = r"""(?:"[^"\n]*+"|'[^'\n]*+'|[A-Za-z0-9_-]++)"""
_LONG_KEY = re.compile(rf"(?<![A-Za-z0-9_-]){_PART}(?:[ \t]*+\.[ \t]*+{_PART}){{{MAX_KEY_PARTS}}}")
_LONG_NUMBER = re.compile(r"[0-9_]{4000}")
_INT64 = range(-(2**63), 2**63)

_WHERE = re.compile(r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)\Z", re.DOTALL)
# What `tomllib` says about the most common mistakes, and what would be right.
_ADVICE = {
    "Invalid value": 'put text in quotes: name = "text"',
    "Cannot overwrite a value": "this key appears twice; write each key once",
    "Cannot declare": "this name is given twice, as a section or as a key; give it once, and put its keys together",
    "Expected '=' after a key": 'write name = "value"; put a name with spaces or dots in quotes',
    "Expected newline or end of document after a statement": "write one key with its value per line",
    "Unclosed array": "close the list with ]; put a comma between its items",
    "Illegal character '\\n'": "close the string on the line where it begins",
    'Expected "\'"': "close the string on the line where it begins",
    "Unterminated string": "close the string with the quotes that it begins with",
    "Unescaped '\\' in a string": "write \\\\ for a backslash, or put the text in single quotes",
}

_CURLY = "\u201c\u201d\u201e\u2018\u2019\u201a\u00ab\u00bb"
_TABLE = "write the table as a section of its own, such as [filters.NAME], and its name in the list"
_MIXED = "a list has values of one kind; put each stage in quotes"
# What to write instead of a statement that `toml` misreads. The first pattern that matches it decides. A test shows the
# bug behind each.
_REMEDIES = tuple(
    (re.compile(pattern, re.DOTALL), remedy)
    for pattern, remedy in (
        (r'"""|\'\'\'', r'write the text on one line, "…", with \n for its line ends'),
        (r"\A\[|\A[^=]*[\"'\\]", "write the name without escapes and quotes"),
        (r"\A[^=]*\.", "write the keys below a section, [like.this], instead of joining them with dots"),
        (r"[=\[,]\s*\{", _TABLE),
        (r"\\[uU]", "write the character itself instead of its code"),
        (r"=\s*\[", "avoid commas, quotes and backslashes at the ends of items, and brackets in lists of lists"),
        (r"=\s*[^\"']*\d", 'write the number in its plainest form, or the value in quotes, such as "30s"'),
    )
)
_OTHERWISE = "write the same with plainer quotes and fewer escapes"


class Document(msgspec.Struct, frozen=True):
    """A TOML file that was read: the tree of its values, and their places in the text."""

    tree: dict[str, Any]
    source: Source


def load(path: str | os.PathLike[str]) -> Document:
    """Read a TOML file.

    Raises:
        ConfigError: the file cannot be read, is not text, is not TOML, or `toml` misreads it.
    """
    file = os.fspath(path)
    return parse(_read(file), file)


def parse(text: str, file: str) -> Document:
    """Read TOML text.

    Args:
        text: the content of the file, with its own line ends.
        file: the name of the file, for places. Nothing is read from it.

    Raises:
        ConfigError: has one problem with its place. A text that passes gives the same tree in every TOML reader.
    """
    source = Source(file, text)
    tree = _tree(source)
    served = _without_tests(source)
    _check_bounds(served, tree)
    if _misreading(served.text, {name: value for name, value in tree.items() if name != TESTS}) is not None:
        raise _blame(served)
    return Document(tree, source)


def _without_tests(source: Source) -> Source:
    """The text with the `[[test]]` sections blanked out, so that all places stay the same.

    Should the scanner of sections ever err, then the rest of the file differs from the tree, and it is refused.
    """
    text, statements = source.text, source.statements()
    blank = re.compile(r"[^\n]")
    pieces, position, in_test = [], 0, False
    for index, statement in enumerate(statements):
        if statement.header:
            in_test = _TEST_HEADER.match(text, statement.start) is not None
        if in_test:
            end = statements[index + 1].start if index + 1 < len(statements) else len(text)
            pieces += [text[position : statement.start], blank.sub(" ", text[statement.start : end])]
            position = end
    return source if not pieces else Source(source.file, "".join([*pieces, text[position:]]))


def _read(file: str) -> str:
    try:
        if not stat.S_ISREG(os.stat(file).st_mode):
            what = "a folder" if os.path.isdir(file) else "not a regular file"
            raise _fault(Source(file, ""), f"this is {what}; write the name of a TOML file")
        with open(file, "rb") as stream:
            data = stream.read(MAX_FILE + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise _fault(Source(file, ""), f"cannot be read: {reason}") from None
    return _plain(_decode(data, file))


def _decode(data: bytes, file: str) -> str:
    """The text of a file: UTF-8, or UTF-16 with a byte order mark, as PowerShell writes it."""
    data = data.removeprefix(codecs.BOM_UTF8)
    encoding = "utf-16" if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8"
    try:
        # The last character of a file over the limit may be cut. The limit is then the problem to report.
        return data.decode(encoding, "ignore" if len(data) > MAX_FILE else "strict")
    except UnicodeDecodeError as error:
        if encoding == "utf-16":
            raise _fault(Source(file, ""), "this is not UTF-16", hint="save the file as UTF-8") from None
        source = Source(file, data.decode("utf-8", "replace"))
        position = len(data[: error.start].decode())
        raise _fault(source, "this is not UTF-8", position, "save the file as UTF-8") from None


def _plain(text: str) -> str:
    """The text without what editors of other systems add: CR at line ends, and Ctrl-Z at the end of the file.

    TOML lets a parser normalise line ends. `toml` loses the rest of a CRLF file after a multi-line string.
    """
    text = text.replace("\r\n", "\n")
    if "\n" not in text:
        text = text.replace("\r", "\n")  # the line ends of old Macintosh systems
    return text.removesuffix("\x1a")


def _tree(source: Source) -> dict[str, Any]:
    """The tree that `tomllib` reads."""
    text = source.text
    if len(text.encode("utf-8", "replace")) > MAX_FILE:
        raise _fault(source, "the file is larger than 256 KiB", hint="check that this is the right file")
    if (position := text.find("\0")) >= 0:
        raise _fault(source, "there is a NUL character in the text", position)
    if (match := _LONG_KEY.search(text)) is not None:
        raise _fault(source, f"more than {MAX_KEY_PARTS} names are joined with dots", match.start())
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _syntax_error(source, str(error)) from None
    except ValueError:
        # Python's limit on the digits of a number (4,300) is the only error that tomllib passes on as it is.
        match = _LONG_NUMBER.search(text)
        raise _fault(source, "a number has thousands of digits", match.start() if match else None) from None
    except RecursionError:
        raise _too_deep(source) from None


def _syntax_error(source: Source, error: str) -> ConfigError:
    match = _WHERE.match(error)
    if match is None:
        return _fault(source, error)
    message, line, column = match.groups()
    # `tomllib` shows the name of a section as a tuple.
    message = re.sub(r"\(('.*'),?\)", lambda keys: keys[1].replace("', '", "."), message)
    hint = next((advice for start, advice in _ADVICE.items() if message.startswith(start)), "")
    place = source.line(int(line), int(column)) if line else source.at(len(source.text.rstrip()))
    if any(quote in place.text for quote in _CURLY):
        hint = "replace the curly quotes, which an editor has inserted, with straight ones: \" or '"
    return ConfigError([Problem(f"not TOML: {message[0].lower()}{message[1:]}", hint=hint, place=place)])


def _check_bounds(source: Source, tree: dict[str, Any]) -> None:
    try:
        deep = source.depth() > MAX_DEPTH
    except RecursionError:
        deep = True
    if deep:
        raise _too_deep(source)
    statements = source.statements()
    tables = sum(statement.header for statement in statements)
    work = tables**2 + sum((statement.end - statement.start) ** 2 for statement in statements)
    # `toml` copies a comment character by character into one growing string.
    work += max(map(len, source.text.split("\n"))) ** 2
    if work > MAX_WORK:
        longest = max(statements, key=lambda statement: statement.end - statement.start, default=None)
        hint = "at most 8 KiB for one value, 8,192 sections, or 256 KiB in lines of 250 characters"
        message = "the file has too many values, or values that are too long"
        raise _fault(source, message, longest.start if longest else 0, hint)
    for path, value in leaves(tree):
        if isinstance(value, int) and value not in _INT64:
            place = source.place(path)
            raise ConfigError([Problem("a whole number has more than 64 bits", path, place=place)])


def _misreading(text: str, tree: dict[str, Any]) -> str | None:
    """What `toml` reads instead of `tree`, in words; None if it reads the same."""
    try:
        read = toml.loads(text)
    except Exception as error:  # it raises whatever its code runs into, such as IndexError and RecursionError
        return f"'toml' cannot read this ({str(error).partition(' (line ')[0]})"
    found = _difference(tree, read, ())
    if found is None:
        return None
    path, value = found
    shown = "nothing" if value is _NOTHING else repr(value)
    return f"'toml' misreads {dotted(path) or 'this'} as {shown if len(shown) <= 60 else shown[:59] + '…'}"


_NOTHING = object()


def _difference(right: Any, read: Any, path: Path) -> tuple[Path, Any] | None:
    """The first path at which two trees differ, and the value there in the second tree."""
    if isinstance(right, dict) and isinstance(read, dict):
        for key in [*right, *(key for key in read if key not in right)]:
            found = _difference(right.get(key, _NOTHING), read.get(key, _NOTHING), (*path, key))
            if found is not None:
                return found
        return None
    if isinstance(right, list) and isinstance(read, list) and len(right) == len(read):
        for index, (one, other) in enumerate(zip(right, read, strict=True)):
            found = _difference(one, other, (*path, index))
            if found is not None:
                return found
        return None
    return None if _same(right, read) else (path, read)


def _same(right: Any, read: Any) -> bool:
    if type(right) is not type(read):
        return False
    if isinstance(right, datetime.datetime):
        return bool(right == read and right.utcoffset() == read.utcoffset())
    return bool(right == read or (isinstance(right, float) and math.isnan(right) and math.isnan(read)))


def _blame(source: Source) -> ConfigError:
    """Find the statement that `toml` misreads. Both readers agree on the text before it."""
    statements = source.statements()
    ends = [*(statement.start for statement in statements[1:]), len(source.text)]
    low, high = -1, len(ends) - 1
    cause = _cause(source.text)
    while high - low > 1:
        middle = (low + high) // 2
        found = _cause(source.text[: ends[middle]])
        if found is None:
            low = middle
        else:
            high, cause = middle, found
    if not statements:
        return _fault(source, cause or "'toml' misreads this")
    start, end, _ = statements[high]
    statement = source.text[start:end]
    message = cause or "'toml' misreads this"
    for path, item in _odd_items(tomllib.loads(source.text[:end]), ()):
        place = source.place(path)
        if place.line >= source.at(start).line:
            hint = _TABLE if isinstance(item, dict) else _MIXED
            return ConfigError([Problem(message, path, hint=hint, place=place)])
    fitting = [remedy for pattern, remedy in _REMEDIES if pattern.search(statement)]
    return _fault(source, message, start, [*fitting, _OTHERWISE][0])


def _odd_items(value: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    """The item to remove from each list of several kinds, with its path: a table, else the first that differs."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _odd_items(item, (*path, key))
    elif isinstance(value, list):
        odd = [index for index, item in enumerate(value) if type(item) is not type(value[0])]
        if odd:
            index = next((index for index, item in enumerate(value) if isinstance(item, dict)), odd[0])
            yield (*path, index), value[index]
        for index, item in enumerate(value):
            yield from _odd_items(item, (*path, index))


def _cause(text: str) -> str | None:
    return _misreading(text, tomllib.loads(text))


def _too_deep(source: Source) -> ConfigError:
    hint = "write the inner part as a section of its own"
    return _fault(source, f"brackets are nested more than {MAX_DEPTH} deep", hint=hint)


def _fault(source: Source, message: str, position: int | None = None, hint: str = "") -> ConfigError:
    place = source.place(()) if position is None else source.at(position)
    return ConfigError([Problem(message, hint=hint, place=place)])
