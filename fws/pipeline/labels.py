"""The names of branches, as people read them."""

from __future__ import annotations


def branch_name(label: str) -> str:
    """The name of a branch: `chat` for `case.chat`, which may contain dots, and `else` for `default`.

    A case that is empty, or is itself named `else`, is in quotes.
    """
    if label == "default":
        return "else"
    _, dot, name = label.partition(".")
    if not dot:
        return label
    return f'"{name}"' if name in ("", "else") else name
