"""Chains of filters: a class that inherits from the base of a chain is in that chain, in the order of definition.

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
from functools import lru_cache
from typing import Any, ClassVar


class FilterBase:
    """The base of every chain's base class.

    Attributes:
        filter: the work of a member of the chain: a class method, static method or plain function that takes the
            instance and, optionally, the data.
    """

    chain: ClassVar[list[type[FilterBase]]] = []
    filter: ClassVar[Any] = None

    @classmethod
    def run(cls, web_socket_instance: Any, data: Any = None, modules: Collection[str] | None = None) -> None:
        """Call every filter of the chain, in the order in which they were defined.

        An exception of a filter is passed to the caller, and the remaining filters are not called.

        Args:
            web_socket_instance: the client that the event concerns.
            data: the data of the event, for filters that take it.
            modules: only filters of these modules are called; None for all.
        """
        # A copy, because a filter may import a module that adds another filter. That one runs from the next event on.
        for member in tuple(cls.chain):
            if member.filter is not None and (modules is None or member.__module__ in modules):
                _call(member.filter, web_socket_instance, data)


class FilterMeta(type):
    """A class with this metaclass is the base of a chain, and each class that inherits from it is a member."""

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


@lru_cache(maxsize=1024)
def _takes_data(function: Callable[..., Any]) -> bool:
    """Whether a function takes a second argument. Bound methods of a class are equal, so each is examined once."""
    try:
        inspect.signature(function).bind(None, None)
    except TypeError:
        return False
    return True


class WebSocketDataFilter(FilterBase, metaclass=FilterMeta):
    """Runs whenever bytes arrive from a client, before they are decoded."""


class WebSocketMessageFilter(FilterBase, metaclass=FilterMeta):
    """Runs for each valid message, a `bytearray`. The next filter sees what a filter changes in it."""


class WebSocketDisconnectFilter(FilterBase, metaclass=FilterMeta):
    """Runs whenever a client is gone. It has no data."""


class WebSocketConsumerFilter(FilterBase, metaclass=FilterMeta):
    """Runs for messages from pub/sub, and for items of the server's queue."""
