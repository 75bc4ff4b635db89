"""The faults of the last hour."""

from __future__ import annotations

from fws.base.fault_book import KEPT, MAX_STACK, MAX_WHAT, MOST, Fault, FaultBook, merged


def noted(book: FaultBook, cause: str, now: float, what: str = "KeyError: 'a'", client: str = "c1") -> None:
    if not book.again(cause, what, client, now):
        book.add(cause, what, client, now, event="message", stack="the stack")


def test_a_cause_is_counted_and_its_last_time_is_shown() -> None:
    book = FaultBook()
    noted(book, "a", 1.0)
    noted(book, "b", 2.0)
    noted(book, "a", 3.0, "KeyError: 'b'", "c2")
    first, second = book.since(4.0)
    assert (first.cause, first.count, first.first, first.last) == ("a", 2, 1.0, 3.0)
    assert (first.what, first.client, first.stack, first.event) == ("KeyError: 'b'", "c2", "the stack", "message")
    assert second.count == 1


def test_what_was_not_seen_for_an_hour_is_forgotten() -> None:
    book = FaultBook()
    noted(book, "a", 0.0)
    noted(book, "b", 10.0)
    noted(book, "a", 20.0)
    assert [one.cause for one in book.since(KEPT + 15)] == ["a"]
    assert [one.cause for one in book.since(KEPT + 20)] == []


def test_clients_that_cause_many_faults_do_not_fill_the_memory() -> None:
    book = FaultBook()
    noted(book, "kept", 0.0)
    for number in range(3 * MOST):
        noted(book, "kept", float(number))
        noted(book, f"cause {number}", float(number), "x" * 10_000)
    found = book.since(float(3 * MOST))
    assert len(found) == MOST
    assert "kept" in {one.cause for one in found}
    assert max(len(one.what) for one in found) == MAX_WHAT
    book.add("long", "", "", 1000.0, stack="a" * MAX_STACK + "the end")
    assert book.since(1000.0)[0].stack.endswith("the end")
    assert len(book.since(1000.0)[0].stack) < MAX_STACK + 10


def test_the_faults_of_workers_are_one_list() -> None:
    one, other = FaultBook(), FaultBook()
    noted(one, "a", 1.0)
    noted(one, "b", 9.0)
    noted(other, "a", 5.0, client="c7")
    books: list[list[Fault]] = [one.since(10.0), other.since(10.0)]
    b, a = merged(books)
    assert (b.cause, b.count) == ("b", 1)
    assert (a.cause, a.count, a.first, a.last, a.client) == ("a", 2, 1.0, 5.0, "c7")
    assert one.since(10.0)[1].count == 1
