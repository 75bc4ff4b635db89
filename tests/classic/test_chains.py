"""Chains of filters by class, as the older project's README has them."""

from __future__ import annotations

from typing import Any

import pytest

from fws.classic.filters.base import FilterBase, FilterMeta

CALLS: list[Any] = []


@pytest.fixture(autouse=True)
def fresh() -> None:
    CALLS.clear()


def test_filters_run_in_the_order_in_which_they_were_defined() -> None:
    class A(FilterBase, metaclass=FilterMeta):
        pass

    class B(A):
        @classmethod
        def filter(cls, web_socket_instance: Any, data: Any = None) -> None:
            CALLS.append((cls.__name__, web_socket_instance, data))

    class C(A):
        @staticmethod
        def filter(web_socket_instance: Any) -> None:
            CALLS.append(("static", web_socket_instance))

    class D(A):
        def filter(web_socket_instance: Any, data: Any) -> None:  # noqa: N805
            CALLS.append(("plain", web_socket_instance, data))

    class E(B):
        pass

    A.run("them")
    assert CALLS == [("B", "them", None), ("static", "them"), ("plain", "them", None), ("E", "them", None)]
    CALLS.clear()
    A.run("them", "data")
    assert CALLS[0] == ("B", "them", "data")


def test_each_base_has_a_chain_of_its_own() -> None:
    class One(FilterBase, metaclass=FilterMeta):
        pass

    class Two(FilterBase, metaclass=FilterMeta):
        pass

    class First(One):
        @classmethod
        def filter(cls, web_socket_instance: Any) -> None:
            CALLS.append("one")

    class WithoutFilter(Two):
        pass

    Two.run(None)
    assert CALLS == []
    One.run(None)
    assert CALLS == ["one"]


def test_an_exception_reaches_the_caller_and_stops_the_chain() -> None:
    class A(FilterBase, metaclass=FilterMeta):
        pass

    class Raises(A):
        @classmethod
        def filter(cls, web_socket_instance: Any) -> None:
            raise LookupError("a bug")

    class Behind(A):
        @classmethod
        def filter(cls, web_socket_instance: Any) -> None:
            CALLS.append("behind")

    with pytest.raises(LookupError):
        A.run(None)
    assert CALLS == []
