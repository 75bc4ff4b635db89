"""Templates in jinja2's sandbox, of which only the part that cannot do harm is left.

The author of a template is trusted, and the values in it are not. So nothing is called but filters and tests, a dot
names a key and never an attribute of Python, and results and loops are bounded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from jinja2 import StrictUndefined, TemplateError, TemplateSyntaxError, meta, nodes, pass_context, pass_eval_context
from jinja2.environment import Template as JinjaTemplate
from jinja2.filters import FILTERS, do_join, do_replace
from jinja2.runtime import Context, LoopContext, markup_join, str_join
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.tests import TESTS
from jinja2.utils import _PassArg
from jinja2.visitor import NodeTransformer
from markupsafe import Markup

from fws.wire.encoding import json_bytes

# What all operations together may take and make, in characters of texts, and items of lists and objects.
MAX_WORK = 1024 * 1024
# What a call of a filter or a test counts for, and how much more a character or an item counts in slow filters.
CALL = 8
SLOW = 8
# Rounds of all loops together. They take a few milliseconds.
MAX_ROUNDS = 10_000
MAX_BITS = 1024
MAX_DIGITS = 15

# The filters of jinja2 that templates may use. The others could make a long text of a short one (`center`, `indent`,
# `format`), or are of no use here.
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
# What jinja2 raises for values that do not suit: `truncate` an AssertionError.
_FAILURES: Final = (
    *(TemplateError, TypeError, ArithmeticError, LookupError, RecursionError, AttributeError, AssertionError),
)
_LOOP: Final = ("index", "index0", "revindex", "revindex0", "first", "last", "length", "previtem", "nextitem")
# The filters whose arguments are written out, so that no client chooses them: all of them, or the first one.
_CONSTANT: Final = ("dictsort", "max", "min", "sort", "sum", "trim", "unique")
_CONSTANT_FIRST: Final = ("map", "reject", "rejectattr", "select", "selectattr")
_SLOW: Final = ("dictsort", "map", "sort", "title", "unique", "urlencode", "wordcount")
_LEFT: Final = "_left"
_ROUNDS: Final = "_rounds"
_COUNTED: Final = "_counted"
_CONCAT: Final = "_concat"


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
            code = environment.compile(_Counting().visit(tree))
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
            for part in self._template.generate({**values, _LEFT: _Left()}):
                left -= len(part) if part.isascii() else len(part.encode("utf-8", "replace"))
                if left < 0:
                    raise ValueError(f"the text has more than {self._limit} bytes")
                parts.append(part)
        except _FAILURES as error:
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
        if isinstance(node, nodes.Filter):
            _check_filter(node)


def _check_filter(node: nodes.Filter) -> None:
    named = {argument.key: argument.value for argument in node.kwargs}
    if node.name == "sum" and ("start" in named or len(node.args) > 1):
        raise TemplateSyntaxError("sum takes no start: it adds numbers", node.lineno)
    written = [value for name, value in named.items() if name == "attribute" or node.name in _CONSTANT]
    if node.name in _CONSTANT or node.name in _CONSTANT_FIRST:
        written += node.args if node.name in _CONSTANT else node.args[:1]
    if not all(isinstance(value, nodes.Const) for value in written):
        raise TemplateSyntaxError(f"write out what {node.name} is to use: no message may choose it", node.lineno)


class _Left:
    """What a template may still do."""

    __slots__ = ("rounds", "work")

    def __init__(self) -> None:
        self.rounds = MAX_ROUNDS
        self.work = MAX_WORK

    def spend(self, work: int) -> None:
        """Count characters and items. Raises TypeError if there are too many."""
        self.work -= work
        if self.work < 0:
            raise TypeError(f"the operations handle more than {MAX_WORK} characters and items")

    def count_round(self) -> None:
        """Raises TypeError if there are too many."""
        self.rounds -= 1
        if self.rounds < 0:
            raise TypeError(f"the loops have more than {MAX_ROUNDS} rounds")


class _Counting(NodeTransformer):
    """Has what a template does without a filter counted by one."""

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        node.iter = _filtered(node.iter, _ROUNDS)  # type: ignore[arg-type]
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return _filtered(nodes.List(node.nodes, lineno=node.lineno), _CONCAT)

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        node.expr = _filtered(node.expr, _COUNTED)
        for operand in node.ops:
            operand.expr = _filtered(operand.expr, _COUNTED)
        return node

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return _filtered(node, _COUNTED) if isinstance(node.arg, nodes.Slice) else node


def _filtered(node: nodes.Expr, name: str) -> nodes.Filter:
    return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno)


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
            context[_LEFT].spend(len(left) + len(right))
        elif not (isinstance(left, int | float) and isinstance(right, int | float)):
            raise TypeError(f"{operator} takes numbers")
        elif isinstance(left, int) and isinstance(right, int) and _bits(operator, left, right) > MAX_BITS:
            raise TypeError(f"a number has more than {MAX_BITS} bits")
        return super().call_binop(context, operator, left, right)


def _bits(operator: str, left: int, right: int) -> int:
    """The most bits of a result that may have many more than both numbers."""
    if operator == "**":
        return left.bit_length() * abs(right)
    return left.bit_length() + right.bit_length() if operator == "*" else 0


def _size(value: Any) -> int:
    return len(value) if isinstance(value, str | list | tuple | Mapping) else 1


def _counting(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A filter or a test whose arguments, and the text that it makes, are counted."""
    weight = SLOW if name in _SLOW else 1
    passed = _PassArg.from_obj(function)

    @pass_context
    def counting(context: Context, *arguments: Any, **named: Any) -> Any:
        left: _Left = context[_LEFT]
        left.spend(CALL + weight * (sum(map(_size, arguments)) + sum(map(_size, named.values()))))
        if passed is _PassArg.context:
            arguments = (context, *arguments)
        elif passed is not None:
            arguments = (context.eval_ctx if passed is _PassArg.eval_context else context.environment, *arguments)
        made = function(*arguments, **named)
        if isinstance(made, str):
            left.spend(len(made))
        return made

    return counting


def _counted(value: Any) -> Any:
    return value


@pass_context
def _rounds(context: Context, items: Iterable[Any]) -> Iterator[Any]:
    """The items of a loop, as long as there are rounds left."""
    left: _Left = context[_LEFT]
    for item in items:
        left.count_round()
        yield item


@pass_context
def _concat(context: Context, items: list[Any]) -> str:
    texts = [item if isinstance(item, str) else str(item) for item in items]
    context[_LEFT].spend(sum(map(len, texts)))
    return (markup_join if context.eval_ctx.autoescape else str_join)(texts)


@pass_context
def _replace(context: Context, text: Any, old: str, new: str, count: int | None = None) -> str:
    context[_LEFT].spend(str(text).count(str(old)) * len(str(new)))
    return do_replace(context.eval_ctx, text, old, new, count)


@pass_context
def _join(context: Context, items: Iterable[Any], by: Any = "", attribute: Any = None) -> str:
    items = list(items)
    context[_LEFT].spend(len(items) * len(str(by)))
    joined: str = do_join(context.eval_ctx, items, by, attribute)
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
    own = {"join": _join, "replace": _replace, "round": _round, "tojson": _to_json, _COUNTED: _counted}
    filters: dict[str, Callable[..., Any]] = {name: FILTERS[name] for name in _FILTERS} | own
    environment.filters = {name: _counting(name, call) for name, call in filters.items()}
    environment.filters |= {_ROUNDS: _rounds, _CONCAT: _concat}
    tests: dict[str, Any] = {**TESTS}
    environment.tests = {name: _counting(name, call) for name, call in tests.items()}
    return environment


_ENVIRONMENTS: Final = {html: _environment(html=html) for html in (False, True)}
