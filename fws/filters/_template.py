"""Templates in jinja2's sandbox, of which only the part that cannot do harm is left.

The author of a template is trusted, and the values in it are not. So nothing is called but filters and tests, a dot
names a key and never an attribute of Python, and results and loops are bounded.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from jinja2 import StrictUndefined, TemplateError, TemplateSyntaxError, meta, nodes, pass_context, pass_eval_context
from jinja2.environment import Template as JinjaTemplate
from jinja2.filters import FILTERS, do_join, do_replace
from jinja2.runtime import Context, LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment
from markupsafe import Markup

from fws.wire.encoding import json_bytes

# Characters of any text that an operation makes, and rounds of all loops together. The rounds take a few milliseconds.
MAX_TEXT = 1024 * 1024
MAX_ROUNDS = 10_000
MAX_EXPONENT = 64
MAX_DIGITS = 15

# What is left of jinja2. Others could make much of little (`center`, `indent`, `format`), or are of no use here.
_FILTERS: Final = (
    *("abs", "capitalize", "count", "d", "default", "dictsort", "e", "escape", "first", "float", "forceescape", "int"),
    *("items", "last", "length", "list", "lower", "map", "max", "min", "reject", "rejectattr", "reverse", "select"),
    *("selectattr", "sort", "string", "sum", "title", "trim", "truncate", "unique", "upper", "urlencode", "wordcount"),
)
_NODES: Final = (
    *(nodes.Template, nodes.Output, nodes.TemplateData, nodes.Name, nodes.Const, nodes.Getattr, nodes.Getitem),
    *(nodes.Filter, nodes.Test, nodes.For, nodes.If, nodes.CondExpr, nodes.Compare, nodes.Operand, nodes.BinExpr),
    *(nodes.UnaryExpr, nodes.Concat, nodes.List, nodes.Tuple, nodes.Dict, nodes.Pair, nodes.Assign, nodes.With),
    *(nodes.Slice, nodes.Keyword),
)
_LOOP: Final = ("index", "index0", "revindex", "revindex0", "first", "last", "length", "previtem", "nextitem")
_ROUNDS: Final = "_rounds"


class Missing(StrictUndefined):
    """A value that is not there: false in `if`, and an error wherever its text is needed."""

    __slots__ = ()

    def __bool__(self) -> bool:  # type: ignore[override]
        return False


class TextTemplate:
    """A compiled template.

    Args:
        html: whether the characters `<`, `>`, `&` and quotes in values are escaped.
        limit: bytes of the text that it makes.

    Raises:
        ValueError: says what is wrong in which line.
    """

    def __init__(self, source: str, limit: int, *, html: bool = False) -> None:
        environment = _ENVIRONMENTS[html]
        self._limit = limit
        try:
            tree = environment.parse(source)
            _check(tree)
            self.names = frozenset(meta.find_undeclared_variables(tree))
            for loop in tree.find_all(nodes.For):
                loop.iter = nodes.Filter(loop.iter, _ROUNDS, [], [], None, None, lineno=loop.lineno)
            code = environment.compile(tree)
        except TemplateSyntaxError as error:
            raise ValueError(f"line {error.lineno}: {error.message}") from None
        except RecursionError:
            raise ValueError("it is nested too deep") from None
        self._template = JinjaTemplate.from_code(environment, code, {})

    def render(self, values: Mapping[str, Any]) -> str:
        """The text for some values.

        Raises:
            ValueError: a value is missing or does not suit, or the text or a loop is too long.
        """
        parts = []
        left = self._limit
        try:
            for part in self._template.generate({**values, _ROUNDS: [MAX_ROUNDS]}):
                left -= len(part) if part.isascii() else len(part.encode("utf-8", "replace"))
                if left < 0:
                    raise ValueError(f"the text has more than {self._limit} bytes")
                parts.append(part)
        except (TemplateError, TypeError, ArithmeticError, LookupError, RecursionError, AttributeError) as error:
            raise ValueError(str(error)) from None
        return "".join(parts)


def _check(tree: nodes.Template) -> None:
    for node in tree.find_all(nodes.Node):
        if not isinstance(node, _NODES):
            what = type(node).__name__.lower()
            hint = ": a template calls nothing, write a filter such as {{ x|upper }}" if what == "call" else ""
            raise TemplateSyntaxError(f"a template of fws cannot contain {what}{hint}", node.lineno)
        if isinstance(node, nodes.Name) and node.name == "self":
            raise TemplateSyntaxError("there is no 'self'", node.lineno)


class _Environment(ImmutableSandboxedEnvironment):
    intercepted_binops = frozenset(ImmutableSandboxedEnvironment.default_binop_table)

    def getattr(self, obj: Any, attribute: str) -> Any:
        if isinstance(obj, LoopContext) and attribute in _LOOP:
            return getattr(obj, attribute)
        return self.getitem(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """A key of an object or an item of a list. In `message.items`, `items` is a key."""
        if isinstance(obj, Missing):
            return obj
        try:
            if isinstance(obj, Mapping):
                return obj[argument]
            if isinstance(obj, list | tuple | str) and isinstance(argument, int | slice):
                return obj[argument]
        except (LookupError, TypeError):
            pass
        return self.undefined(obj=obj, name=argument)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        if operator == "+" and type(left) is type(right) and isinstance(left, str | list):
            _bound(len(left) + len(right))
        elif not (isinstance(left, int | float) and isinstance(right, int | float)):
            raise TypeError(f"{operator} takes numbers")
        elif operator == "**" and abs(right) > MAX_EXPONENT:
            raise TypeError(f"the exponent is above {MAX_EXPONENT}")
        return super().call_binop(context, operator, left, right)


def _bound(size: int) -> None:
    if size > MAX_TEXT:
        raise TypeError(f"a text has more than {MAX_TEXT} characters")


@pass_context
def _rounds(context: Context, items: Iterable[Any]) -> Iterator[Any]:
    """The items of a loop, as long as there are rounds left."""
    left: list[int] = context[_ROUNDS]
    for item in items:
        left[0] -= 1
        if left[0] < 0:
            raise TypeError(f"the loops have more than {MAX_ROUNDS} rounds")
        yield item


@pass_eval_context
def _replace(context: nodes.EvalContext, text: Any, old: str, new: str, count: int | None = None) -> str:
    _bound(len(str(text)) + str(text).count(str(old)) * len(str(new)))
    return do_replace(context, text, old, new, count)


@pass_eval_context
def _join(context: nodes.EvalContext, items: Iterable[Any], by: Any = "", attribute: Any = None) -> str:
    items = list(items)
    _bound(len(items) * len(str(by)))
    joined: str = do_join(context, items, by, attribute)
    return joined


def _round(number: float, digits: int = 0) -> float:
    rounded = round(float(number), max(0, min(int(digits), MAX_DIGITS)))
    return int(rounded) if not digits else rounded


@pass_eval_context
def _to_json(context: nodes.EvalContext, value: Any) -> str:
    text = json_bytes(value).decode()
    if not context.autoescape:
        return text
    for char in "<>&'":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return Markup(text)


def _shown(value: Any) -> Any:
    """Values as text: null is empty, and true, false, lists and objects are JSON."""
    if isinstance(value, bool | dict | list):
        return json_bytes(value).decode()
    return "" if value is None else value


def _environment(*, html: bool) -> _Environment:
    environment = _Environment(undefined=Missing, autoescape=html, finalize=_shown)
    environment.globals.clear()
    own = {"join": _join, "replace": _replace, "round": _round, "tojson": _to_json, _ROUNDS: _rounds}
    environment.filters = {name: FILTERS[name] for name in _FILTERS} | own
    return environment


_ENVIRONMENTS: Final = {html: _environment(html=html) for html in (False, True)}
