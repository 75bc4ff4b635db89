"""Which words of a file are secrets, and how a stage is shown without them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from fws.base.tree import leaves
from fws.base.variables import VARIABLE
from fws.pipeline.filter import Filter
from fws.pipeline.options import HIDDEN, Option, options_of
from fws.pipeline.stage import Argument, Bound, Stage, StageError, bind


def secret_arguments(bound: Bound, options: Sequence[Option]) -> list[Argument]:
    """The arguments of a stage that belong to secret options, without those that only name a variable."""
    given = [bound[option.name] for option in options if option.secret and option.name in bound]
    arguments = [one for each in given for one in (each if isinstance(each, list) else [each])]
    return [argument for argument in arguments if not _names_a_variable(argument.value)]


def secret_values(value: Any) -> set[str]:
    """The texts in the value of a secret option, as a table holds it."""
    return {str(leaf) for _, leaf in leaves(value) if not _names_a_variable(str(leaf))}


def possible_secrets(text: str, filters: Iterable[type[Filter]]) -> set[str]:
    """The words of a stage that cannot be read. Any of them may be a secret if a filter that it may mean takes one.

    Args:
        filters: the filters that the stage may mean, such as `token` for `tokn abc`.
    """
    if not any(option.secret for cls in filters for option in options_of(cls)):
        return set()
    return {word for word in text.split()[1:] if not _names_a_variable(word)}


def shown(stage: Stage, cls: type[Filter]) -> str:
    """A stage as it is written, with its secrets hidden."""
    options = options_of(cls)
    if not stage.arguments or not any(option.secret for option in options):
        return stage.text.strip()
    try:
        hidden = secret_arguments(bind(stage, options), options)
    except StageError:  # such a stage is a problem and never shown; hide everything all the same
        hidden = list(stage.arguments)
    ends = [argument.start for argument in stage.arguments[1:]] + [len(stage.text)]
    words = [stage.name]
    for argument, end in zip(stage.arguments, ends, strict=True):
        if argument in hidden:
            words.append((f"{argument.key}=" if argument.key else "") + HIDDEN)
        else:
            words.append(stage.text[argument.start : end].strip())
    return " ".join(words)


def _names_a_variable(text: str) -> bool:
    """Whether a text is `${NAME}` and nothing else. A default, `${NAME:-default}`, may be a secret."""
    match = VARIABLE.fullmatch(text)
    return match is not None and match[2] is None
