"""Chains of filters by class: a class that inherits from a chain's base is in the chain, in the order of definition.

class A(FilterBase, metaclass=FilterMeta):
    pass

class B(A):
    @classmethod
    def filter(cls, web_socket_instance, data=None):
        print("foo")

A.run(web_socket_instance)
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from typing import Any, ClassVar


class FilterBase:
    """What a chain's base inherits from.

    Attributes:
        filter: what a member of a chain does: a class method, a static method or a plain function, which takes the
            instance and, if it wants to, the data.
    """

    chain: ClassVar[list[type[FilterBase]]] = []
    filter: ClassVar[Any] = None

    @classmethod
    def run(cls, web_socket_instance: Any, data: Any = None, modules: Collection[str] | None = None) -> None:
        """Call every filter of the chain, in the order in which they were defined.

        What one raises goes to the caller, and the rest are not called.

        Args:
            web_socket_instance: whom it is about.
            data: what has come, for those that take it.
            modules: those whose filters are called; all when None.
        """
        # A filter may import a module that adds another, which then is the next event's.
        for member in tuple(cls.chain):
            if member.filter is not None and (modules is None or member.__module__ in modules):
                _call(member.filter, web_socket_instance, data)


class FilterMeta(type):
    """Makes a class that has it a chain's base, and each class that inherits from that one of the chain."""

    chain: list[Any]

    def __init__(cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **options: Any) -> None:
        super().__init__(name, bases, namespace, **options)
        if any(isinstance(base, FilterMeta) for base in bases):
            cls.chain.append(cls)
        else:
            cls.chain = []


def _call(function: Callable[..., Any], web_socket_instance: Any, data: Any) -> None:
    if _takes_data(function):
        function(web_socket_instance, data)
    else:
        function(web_socket_instance)


def _takes_data(function: Callable[..., Any]) -> bool:
    """Whether it takes a second argument."""
    try:
        inspect.signature(function).bind(None, None)
    except TypeError:
        return False
    return True


class WebSocketDataFilter(FilterBase, metaclass=FilterMeta):
    """Runs whenever bytes arrive from a client, before they are read as frames."""


class WebSocketMessageFilter(FilterBase, metaclass=FilterMeta):
    """Runs for each valid message, a `bytearray`: what a filter changes in it the next one sees."""


class WebSocketDisconnectFilter(FilterBase, metaclass=FilterMeta):
    """Runs whenever a client is gone. It has no data."""


class WebSocketConsumerFilter(FilterBase, metaclass=FilterMeta):
    """Runs for what arrives by pub/sub, and for what is put into the server's queue."""
