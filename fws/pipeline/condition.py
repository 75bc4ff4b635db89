"""Conditions of `when`: a small subset of Python's expressions, read once and compiled to closures.

The text never runs as code. It is parsed to a tree, and each allowed node becomes a function.
"""

from __future__ import annotations

import ast
import keyword
import operator
import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from fws.base.brief import brief
from fws.base.problem import did_you_mean
from fws.pipeline.call import ATTRIBUTES as CALL_ATTRIBUTES
from fws.pipeline.events import BY_NAME
from fws.pipeline.interfaces import Client
from fws.pipeline.placeholder import CLIENT_ATTRIBUTES

MAX_TEXT = 1000
MAX_DEPTH = 50

# What a condition looks at: the client, the message and the channel. Each may be None.
Asked = tuple[Any, Any, Any]
Test = Callable[[Asked], Any]

_LITERALS = {"true": True, "false": False, "null": None}
_ROOTS: dict[str, Test] = {
    "message": lambda asked: asked[1],
    "channel": lambda asked: asked[2],
    "identity": lambda asked: None if asked[0] is None else asked[0].identity,
    "state": lambda asked: None if asked[0] is None else asked[0].state,
    "params": lambda asked: None if asked[0] is None else asked[0].params,
}
# The attributes of these that a condition may use.
_OWNERS = {"client": CLIENT_ATTRIBUTES, "request": ("query", "headers", "cookies"), "call": CALL_ATTRIBUTES}
# What other languages write, and what is right here.
_HINTS = {"&&": "write 'and'", "||": "write 'or'", "!": "write 'not'", "=": "compare with '=='"}
_WORDS = set(keyword.kwlist) - {"and", "or", "not", "in", "is", "None", "True", "False"}


class Condition:
    """A condition on a client and a message, such as `type == 'chat' and len(text) < 200`.

    Allowed are `and`, `or`, `not`, comparisons (`==`, `!=`, `<`, `<=`, `>`, `>=`, `in`, `not in`, `is null`), texts,
    numbers, `true`, `false`, `null`, lists of these, `a.b`, `a['b']`, `a[0]`, `len(x)`, `lower(x)`,
    `words(x)`, `startswith(x, y)` and `endswith(x, y)`.

    The names `message`, `client` (with `id`, `address`, `path`, `subprotocol`), `identity`, `state`, `params`,
    `channel`, `request` (with `query`, `headers` and `cookies`) and `call` (with `kind`, `channel`, `method` and
    `data`) have their usual meaning. The names of headers are in lower case. Any other name is a field of the message,
    and a missing field is null.

    `<`, `<=`, `>` and `>=` are false unless both sides are numbers or both are texts. `true` and `false` are not equal
    to any number. `!=` and `not in` are the exact opposites of `==` and `in`.
    """

    __slots__ = ("_names", "_terms", "_test", "_text")

    def __init__(self, text: str, test: Test, names: frozenset[str], terms: Mapping[str, Test]) -> None:
        self._text = text
        self._test = test
        self._names = names
        self._terms = terms

    @classmethod
    def parse(cls, text: str) -> Condition:
        """Read a condition. Raises ValueError that says what is wrong and, where possible, what would be right."""
        if not isinstance(text, str) or not text.strip():
            raise ValueError("expected a condition, such as type == 'chat'")
        if len(text) > MAX_TEXT:
            raise ValueError(f"a condition has at most {MAX_TEXT} characters, not {len(text)}")
        try:
            tree = _parse(text.strip())
            if isinstance(tree, ast.Constant) and isinstance(tree.value, str):
                raise ValueError("this is only a text in quotes, which is always true: remove the quotes")
            return cls(text.strip(), _asking(tree, 0), _names(tree), _terms(tree))
        except (RecursionError, MemoryError):
            raise ValueError("the condition is nested too deep") from None

    @property
    def names(self) -> frozenset[str]:
        """The names in the condition: fields of the message, `client`, `identity` and so on."""
        return self._names

    def check_event(self, event: str, *also: str) -> None:
        """Check the names in the condition.

        Args:
            also: names that exist in addition to those of the event.

        Raises:
            ValueError: a name does not exist on this event, such as a field of the message on `connect`.
        """
        _check_names(self._names, (*BY_NAME[event].names, *also), f"on {event}")

    def check_names(self, there: Iterable[str], what: str) -> None:
        """Check the names in a condition outside of pipelines.

        Args:
            there: the names that exist.
            what: where it is, for the message.
        """
        _check_names(self._names, there, what)

    def holds(self, client: Client | None, message: Any, channel: str | None = None) -> bool:
        """Whether the condition is true. Null, false, 0 and empty values count as false. Never raises."""
        try:
            return bool(self._test((client, message, channel)))
        except RecursionError:  # two values nested as deep as JSON allows, compared with each other
            return False

    def explain(self, client: Client | None, message: Any, channel: str | None = None) -> str:
        """Whether the condition holds, and the values in it: `role == 'admin' is false: role = "guest"`."""
        asked = (client, message, channel)
        values = ", ".join(f"{name} = {brief(term(asked))}" for name, term in self._terms.items())
        return f"{self._text} is {str(self.holds(*asked)).lower()}: {values}"

    def __str__(self) -> str:
        return self._text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Condition) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)


class Term:
    """One value as conditions name it: `identity.name`, `request.query.since`, `message['a b']`, `params.room`."""

    __slots__ = ("_names", "_test", "_text")

    def __init__(self, text: str, test: Test, names: frozenset[str]) -> None:
        self._text = text
        self._test = test
        self._names = names

    @classmethod
    def parse(cls, text: str) -> Term:
        """Read a term. Raises ValueError that says what would be right."""
        if not isinstance(text, str) or not text.strip() or len(text) > MAX_TEXT:
            raise ValueError("expected the name of a value, such as identity.name")
        tree = _parse(text.strip())
        if not isinstance(tree, ast.Name | ast.Attribute | ast.Subscript) or not _names(tree):
            raise ValueError(f"{text} is not the name of a value: write a name as in conditions, such as identity.name")
        return cls(text.strip(), _compile(tree, 0), _names(tree))

    @property
    def names(self) -> frozenset[str]:
        """The name with which it begins, in the form of `Condition.names`."""
        return self._names

    def check_names(self, there: Iterable[str], what: str) -> None:
        """Check that the value exists somewhere. Raises ValueError as `Condition.check_event`."""
        _check_names(self._names, there, what)

    def value(self, client: Client | None, message: Any, channel: str | None = None) -> Any:
        """The value; None if there is none. Never raises."""
        return self._test((client, message, channel))

    def __str__(self) -> str:
        return self._text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Term) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)


def _check_names(names: Iterable[str], there: Iterable[str], what: str) -> None:
    for name in sorted(names):
        if (name if name in _ROOTS or name in _OWNERS else "message") not in there and name not in there:
            raise ValueError(f"there is no {name!r} {what}: use {', '.join(there)}")


def _parse(text: str) -> ast.expr:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # what Python only warns about, such as `\d` in a text, is a mistake here
            return ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError) as error:
        hint = ""
        bare = re.sub(r"'[^']*'|\"[^\"]*\"", "''", text)
        for word in re.findall(r"&&|\|\||[=!<>]=|[!=]|\w+", bare):
            if word in _HINTS:
                hint = f": {_HINTS[word]} instead of '{word}'"
            elif word in _WORDS:
                hint = f": write message['{word}'] for a field of that name"
        reason = error.msg if isinstance(error, SyntaxError) else str(error)
        raise ValueError(f"this is not a condition ({reason}){hint}") from None


def _asking(node: ast.expr, depth: int) -> Test:
    """The test of an expression that must not be constant: the whole condition, and the sides of `and` and `or`."""
    test = _compile(node, depth)
    if not _names(node):
        raise ValueError(f"{_show(node)} is always {str(bool(test((None,) * 3))).lower()}: compare a field with it")
    return test


def _names(node: ast.expr) -> frozenset[str]:
    """The names in a condition: fields of the message, `client`, `identity` and so on."""
    nodes = set(ast.walk(node))
    nodes -= {call.func for call in nodes if isinstance(call, ast.Call)}
    return frozenset(name.id for name in nodes if isinstance(name, ast.Name) and name.id not in _LITERALS)


def _terms(node: ast.expr) -> dict[str, Test]:
    """The values that a condition looks at, as they are written: `identity.role`, `tags[0]`."""
    match node:
        case ast.Name(id=name):
            return {} if name in _LITERALS else {name: _compile(node, 0)}
        case ast.Attribute() | ast.Subscript():
            return {_show(node): _compile(node, 0)}
        case ast.Call(args=args):
            return {name: term for argument in args for name, term in _terms(argument).items()}
    children = (child for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr))
    return {name: term for child in children for name, term in _terms(child).items()}


def _compile(node: ast.expr, depth: int) -> Test:
    if depth > MAX_DEPTH:
        raise ValueError("the condition is nested too deep")
    depth += 1
    match node:
        case ast.BoolOp(op=joint, values=values):
            tests = [_asking(value, depth) for value in values]
            join = all if isinstance(joint, ast.And) else any
            return lambda asked: join(test(asked) for test in tests)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            test = _asking(operand, depth)
            return lambda asked: not test(asked)
        case ast.Compare(left=left, ops=ops, comparators=comparators):
            terms = [left, *comparators]
            for compare, *pair in zip(ops, terms, comparators, strict=False):
                if isinstance(compare, ast.Is | ast.IsNot) and not {_show(term) for term in pair} & {"null", "None"}:
                    raise ValueError("'is' works with null only: compare with '=='")
            return _comparison([_OPERATORS[type(op)] for op in ops], [_compile(term, depth) for term in terms])
        case ast.Name(id=owner) if owner in _OWNERS:
            raise ValueError(f"write an attribute of the {owner}, such as {owner}.{_OWNERS[owner][0]}")
        case ast.Name(id=name) if name not in _LITERALS:
            return _ROOTS[name] if name in _ROOTS else _item(_ROOTS["message"], name)
        case ast.Attribute(value=ast.Name(id=owner), attr=name) if owner in _OWNERS:
            if name not in _OWNERS[owner]:
                raise ValueError(f"a {owner} has no {name!r}: {did_you_mean(name, _OWNERS[owner])}")
            read = operator.attrgetter(name if owner == "client" else f"{owner}.{name}")
            return lambda asked: None if asked[0] is None else read(asked[0])
        case ast.Attribute(value=owner, attr=name):
            return _item(_compile(owner, depth), name)
        case ast.Subscript(value=owner, slice=index):
            key = _literal(index)
            if type(key) not in (str, int):
                raise ValueError("write a text or a whole number between [ and ], such as message['type']")
            return _item(_compile(owner, depth), key)
        case ast.Call():
            return _call(node, depth)
        case ast.List(elts=elements) | ast.Tuple(elts=elements):
            tests = [_compile(element, depth) for element in elements]
            return lambda asked: [test(asked) for test in tests]
    value = _literal(node)
    return lambda asked: value


def _literal(node: ast.expr) -> Any:
    """The value of a text, a number, `true`, `false` or `null`."""
    match node:
        case ast.Constant(value=str() | int() | float() | None):
            return node.value
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as number)):
            return -number
        case ast.Name(id=name) if name in _LITERALS:
            return _LITERALS[name]
    raise ValueError(f"a condition cannot contain {_show(node)} here")


def _item(owner: Test, key: str | int) -> Test:
    def item(asked: Asked) -> Any:
        value = owner(asked)
        if isinstance(key, str):
            return value.get(key) if isinstance(value, dict | Mapping) else None
        return value[key] if isinstance(value, list) and -len(value) <= key < len(value) else None

    return item


def _call(node: ast.Call, depth: int) -> Test:
    name = _show(node.func)
    if name not in _FUNCTIONS:
        function = name.rpartition(".")[2]
        hint = f"write {function}(x)" if function in _FUNCTIONS else did_you_mean(name, _FUNCTIONS)
        raise ValueError(f"a condition cannot call {name}: {hint}")
    count, called = _FUNCTIONS[name]
    if len(node.args) != count or node.keywords:
        raise ValueError(f"{name} takes {count} value{'s' if count > 1 else ''}, not {_show(node)}")
    tests = [_compile(arg, depth) for arg in node.args]
    return lambda asked: called(*(test(asked) for test in tests))


def _comparison(operators: list[Callable[[Any, Any], bool]], tests: list[Test]) -> Test:
    """`a < b`, or several comparisons in a row: `1 < a < 5`."""

    def compare(asked: Asked) -> bool:
        values = [test(asked) for test in tests]
        return all(holds(*pair) for holds, *pair in zip(operators, values, values[1:], strict=False))

    return compare


def _show(node: ast.expr) -> str:
    shown = ast.unparse(node)
    return shown if len(shown) <= 60 else shown[:57] + "…"


def _same(left: Any, right: Any) -> bool:
    # In Python `True == 1`. But an identity with `admin = 1` does not satisfy the condition `admin == true`.
    return isinstance(left, bool) is isinstance(right, bool) and bool(left == right)


def _within(item: Any, container: Any) -> bool:
    if isinstance(container, list):
        return any(_same(item, member) for member in container)
    return isinstance(container, str | dict | Mapping) and isinstance(item, str) and item in container


def _ordered(left: Any, right: Any) -> bool:
    """Whether the two can be ordered: both are numbers (true and false are not), or both are texts."""
    return {type(left), type(right)} <= {int, float} or _texts(left, right)


def _texts(*values: Any) -> bool:
    return all(isinstance(value, str) for value in values)


_OPERATORS: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: _same,
    ast.NotEq: lambda left, right: not _same(left, right),
    ast.Lt: lambda left, right: _ordered(left, right) and left < right,
    ast.LtE: lambda left, right: _ordered(left, right) and left <= right,
    ast.Gt: lambda left, right: _ordered(left, right) and left > right,
    ast.GtE: lambda left, right: _ordered(left, right) and left >= right,
    ast.In: _within,
    ast.NotIn: lambda left, right: not _within(left, right),
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
}
_FUNCTIONS: dict[str, tuple[int, Callable[..., Any]]] = {
    "len": (1, lambda value: len(value) if isinstance(value, str | bytes | list | dict) else None),
    "lower": (1, lambda value: value.lower() if _texts(value) else None),
    "words": (1, lambda value: value.split() if isinstance(value, str) else value if isinstance(value, list) else []),
    "startswith": (2, lambda text, start: _texts(text, start) and text.startswith(start)),
    "endswith": (2, lambda text, end: _texts(text, end) and text.endswith(end)),
}
