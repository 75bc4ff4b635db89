"""What every history promises. A back end's tests inherit from the mixin, so that all pass the same tests."""

from __future__ import annotations

from functools import partial
from typing import Any

from msgspec.structs import replace

from fws.config import Channel
from fws.histories.base import History, Page, Span
from fws.pipeline.publication import Position, Publication

KEPT = Channel(history=5)


class Recorder:
    """A follower that keeps what it is told."""

    def __init__(self) -> None:
        self.publications: list[Publication] = []
        self.positions: list[tuple[str, Position]] = []
        self.gaps: list[str] = []
        self.weight = 0

    def arrived(self, publication: Publication) -> None:
        self.publications.append(publication)

    def told(self, channel: str, top: Position) -> None:
        self.positions.append((channel, top))

    def missed(self, channel: str) -> None:
        self.gaps.append(channel)

    def weigh(self, change: int) -> None:
        self.weight += change


class HistoryContract:
    """The tests. A subclass makes the history.

    Attributes:
        history: begun with `follower`.
    """

    history: History
    follower: Recorder

    def settle(self) -> None:
        """Wait until everything that was called has happened."""

    def pass_time(self, seconds: float) -> None:
        """Let publications get older."""
        raise NotImplementedError

    def publish(self, channel: str, *messages: Any, settings: Channel = KEPT, **more: Any) -> None:
        for message in messages:
            self.history.publish(Publication(channel, message, **more), settings)
        self.settle()

    def read(self, channel: str, after: Position | None = None, last: int = 100, settings: Channel = KEPT) -> Page:
        pages: list[Page | None] = []
        self.history.read(channel, settings, after, last, pages.append)
        self.settle()
        [page] = pages
        assert page is not None
        return page

    def messages(self, channel: str, after: Position | None = None, last: int = 100) -> list[Any]:
        return [publication.message for publication in self.read(channel, after, last).publications]

    def look(
        self,
        channel: str,
        since: Position | None = None,
        limit: int = -1,
        *,
        reverse: bool = False,
        settings: Channel = KEPT,
    ) -> Page:
        pages: list[Page | None] = []
        self.history.page(channel, settings, Span(since, limit, reverse), pages.append)
        self.settle()
        [page] = pages
        assert page is not None
        return page

    def remove(self, channel: str) -> None:
        done: list[bool] = []
        self.history.remove(channel, KEPT, done.append)
        self.settle()
        assert done == [True]

    def test_publications_are_numbered_without_holes(self) -> None:
        self.publish("a", *"xyz")
        self.publish("b", "w")
        page = self.read("a")
        assert [(one.offset, one.message) for one in page.publications] == [(1, "x"), (2, "y"), (3, "z")]
        assert {one.epoch for one in page.publications} == {page.top.epoch}
        assert (page.top.offset, page.complete) == (3, True)
        assert self.read("b").top.offset == 1

    def test_followers_get_each_publication_with_its_position(self) -> None:
        self.history.follow("a", KEPT)
        self.settle()
        channel, top = self.follower.positions[-1]
        assert (channel, top.offset) == ("a", 0)
        self.publish("a", "x", "y", sender="ann", exclude="bob")
        got = [(one.offset, one.message, one.sender, one.exclude) for one in self.follower.publications]
        assert got == [(1, "x", "ann", "bob"), (2, "y", "ann", "bob")]
        assert {one.epoch for one in self.follower.publications} == {top.epoch} == {self.read("a").top.epoch}

    def test_a_follower_is_told_the_position_after_earlier_publications(self) -> None:
        self.history.publish(Publication("a", "x"), KEPT)
        self.history.publish(Publication("a", "y"), KEPT)
        self.history.follow("a", KEPT)
        self.settle()
        assert self.follower.positions[-1] == ("a", self.read("a").top)
        assert self.follower.positions[-1][1].offset == 2

    def test_messages_of_every_kind_come_back_as_they_were(self) -> None:
        messages = ["text", "ü\u2028", "", b"\x00\xff", b"", {"a": [1, None, 2.5]}, [], 7, None, True]
        settings = replace(KEPT, history=20)
        self.publish("a", *messages, settings=settings)
        assert [one.message for one in self.read("a", settings=settings).publications] == messages

    def test_a_message_that_is_changed_afterwards_stays_as_it_was_published(self) -> None:
        message = {"text": "hello"}
        self.publish("a", message)
        message["text"] = "changed by a later filter"
        assert self.messages("a") == [{"text": "hello"}]

    def test_history_bounds_the_number(self) -> None:
        self.publish("a", *range(8))
        page = self.read("a")
        assert [(one.offset, one.message) for one in page.publications] == [(4, 3), (5, 4), (6, 5), (7, 6), (8, 7)]
        assert page.top.offset == 8

    def test_history_size_bounds_the_bytes(self) -> None:
        settings = replace(KEPT, history=100, history_size=10_000)
        self.publish("a", *(f"{number}{'x' * 1000}" for number in range(30)), settings=settings)
        page = self.read("a", settings=settings)
        assert 5 <= len(page.publications) <= 10
        assert (page.publications[-1].offset, page.top.offset) == (30, 30)

    def test_a_message_that_is_larger_than_the_history_has_a_number_and_is_not_kept(self) -> None:
        settings = replace(KEPT, history_size=2000)
        self.history.follow("a", settings)
        self.publish("a", "x" * 5000, settings=settings)
        assert [one.offset for one in self.follower.publications] == [1]
        page = self.read("a", settings=settings)
        assert (list(page.publications), page.top.offset) == ([], 1)
        assert not self.read("a", Position(page.top.epoch, 0), settings=settings).complete

    def test_history_age_bounds_the_age(self) -> None:
        settings = replace(KEPT, history_age=2.0)
        self.publish("a", "old", settings=settings)
        self.pass_time(1.2)
        self.publish("a", "new", settings=settings)
        self.pass_time(1.2)
        page = self.read("a", settings=settings)
        assert [(one.offset, one.message) for one in page.publications] == [(2, "new")]
        assert not self.read("a", Position(page.top.epoch, 0), settings=settings).complete

    def test_numbering_goes_on_after_all_publications_are_too_old(self) -> None:
        settings = replace(KEPT, history_age=1.0)
        self.history.follow("a", settings)
        self.publish("a", "x", settings=settings)
        self.pass_time(1.5)
        before = self.read("a", settings=settings)
        self.publish("a", "y", settings=settings)
        after = self.read("a", settings=settings)
        assert (list(before.publications), before.top.offset) == ([], 1)
        assert (after.top.epoch, after.top.offset) == (before.top.epoch, 2)

    def test_a_page_begins_after_the_position(self) -> None:
        self.publish("a", *"wxyz")
        epoch = self.read("a").top.epoch
        for offset, expected in ((0, list("wxyz")), (2, ["y", "z"]), (4, [])):
            page = self.read("a", Position(epoch, offset))
            assert ([one.message for one in page.publications], page.complete) == (expected, True)

    def test_what_is_missing_before_a_page_is_said(self) -> None:
        self.publish("a", *range(8))
        epoch = self.read("a").top.epoch
        assert self.read("a", Position(epoch, 3)).complete
        page = self.read("a", Position(epoch, 2))
        assert ([one.offset for one in page.publications], page.complete) == ([4, 5, 6, 7, 8], False)

    def test_positions_that_the_channel_never_had_are_not_complete(self) -> None:
        self.publish("a", *"xy")
        page = self.read("a")
        for position in (Position(page.top.epoch, 3), Position("another", 1), Position("", 0)):
            assert not self.read("a", position).complete

    def test_the_last_publications(self) -> None:
        self.publish("a", *"vwxyz")
        assert self.messages("a", last=2) == ["y", "z"]
        assert self.messages("a", last=9) == ["v", "w", "x", "y", "z"]
        assert self.messages("never used") == []

    def test_an_empty_channel_has_a_position_from_which_a_client_can_resume(self) -> None:
        self.history.follow("a", KEPT)
        self.settle()
        top = self.read("a").top
        self.publish("a", "x")
        page = self.read("a", top)
        assert ([one.message for one in page.publications], page.complete) == (["x"], True)

    def test_a_message_that_json_cannot_carry_is_refused_and_has_no_number(self) -> None:
        try:
            self.publish("a", object())
        except TypeError:
            pass
        else:
            raise AssertionError("it was accepted")
        self.publish("a", "x")
        assert self.read("a").top.offset == 1

    def test_a_publisher_is_told_the_position_of_each_publication(self) -> None:
        told: list[tuple[str, Position | None]] = []
        for message in "xyz":
            self.history.publish(Publication("a", message), KEPT, partial(self._tell, told, message))
            self.history.publish(Publication("b", message), KEPT)
        self.settle()
        epoch = self.read("a").top.epoch
        assert told == [("x", Position(epoch, 1)), ("y", Position(epoch, 2)), ("z", Position(epoch, 3))]

    @staticmethod
    def _tell(told: list[tuple[str, Position | None]], message: str, position: Position | None) -> None:
        told.append((message, position))

    def test_the_position_of_a_publication_that_is_not_kept_for_its_size_is_told(self) -> None:
        told: list[Position | None] = []
        settings = replace(KEPT, history_size=2000)
        self.history.publish(Publication("a", "x" * 5000), settings, told.append)
        self.settle()
        assert told == [self.read("a", settings=settings).top]

    def test_a_removed_history_is_empty_and_its_numbering_goes_on(self) -> None:
        self.publish("a", *"xyz")
        self.publish("b", "w")
        before = self.read("a").top
        self.remove("a")
        page = self.read("a")
        assert (list(page.publications), page.top) == ([], before)
        assert self.messages("b") == ["w"]
        self.publish("a", "next")
        page = self.read("a")
        assert [(one.offset, one.message) for one in page.publications] == [(4, "next")]
        assert page.top.epoch == before.epoch

    def test_after_a_removal_an_older_position_has_a_gap_and_the_present_one_has_not(self) -> None:
        self.publish("a", *"xyz")
        epoch = self.read("a").top.epoch
        self.remove("a")
        assert not self.read("a", Position(epoch, 2)).complete
        assert self.read("a", Position(epoch, 3)).complete
        self.publish("a", "next")
        assert not self.read("a", Position(epoch, 2)).complete
        page = self.read("a", Position(epoch, 3))
        assert ([one.message for one in page.publications], page.complete) == (["next"], True)

    def test_followers_go_on_after_a_removal(self) -> None:
        self.history.follow("a", KEPT)
        self.publish("a", "x")
        self.remove("a")
        self.publish("a", "y")
        assert [(one.offset, one.message) for one in self.follower.publications] == [(1, "x"), (2, "y")]
        assert self.follower.gaps == []

    def test_a_channel_that_was_never_used_can_be_removed(self) -> None:
        self.remove("never used")
        assert self.messages("never used") == []

    def test_a_page_goes_forwards_from_the_oldest_and_backwards_from_the_newest(self) -> None:
        self.publish("a", *"stuvwxyz")
        top = self.read("a").top
        for limit, reverse, expected in (
            (-1, False, [4, 5, 6, 7, 8]),
            (2, False, [4, 5]),
            (9, False, [4, 5, 6, 7, 8]),
            (0, False, []),
            (-1, True, [8, 7, 6, 5, 4]),
            (2, True, [8, 7]),
            (0, True, []),
        ):
            page = self.look("a", None, limit, reverse=reverse)
            assert [one.offset for one in page.publications] == expected
            assert (page.top, page.complete) == (top, True)

    def test_pages_follow_one_another_in_both_directions(self) -> None:
        self.publish("a", *"stuvwxyz")
        epoch = self.read("a").top.epoch
        for since, reverse, expected in (
            (4, False, [5, 6]),
            (7, False, [8]),
            (8, False, []),
            (7, True, [6, 5]),
            (5, True, [4]),
            (4, True, []),
            (1, True, []),
        ):
            for name in (epoch, ""):
                page = self.look("a", Position(name, since), 2, reverse=reverse)
                assert ([one.offset for one in page.publications], page.complete) == (expected, True)

    def test_a_page_after_a_position_that_is_not_kept_any_more_is_not_complete(self) -> None:
        self.publish("a", *"stuvwxyz")
        epoch = self.read("a").top.epoch
        page = self.look("a", Position(epoch, 2), 2)
        assert ([one.offset for one in page.publications], page.complete) == ([4, 5], False)

    def test_a_page_at_a_position_that_the_channel_never_had_is_empty_and_not_complete(self) -> None:
        self.publish("a", *"xy")
        top = self.read("a").top
        for since in (Position(top.epoch, 3), Position(top.epoch, 10**15), Position("another", 1), Position("", 9)):
            for reverse in (False, True):
                page = self.look("a", since, 5, reverse=reverse)
                assert (list(page.publications), page.complete, page.top) == ([], False, top)

    def test_a_page_has_nothing_that_is_too_old(self) -> None:
        settings = replace(KEPT, history=100, history_age=2.0)
        self.publish("a", *range(7), settings=settings)
        self.pass_time(1.2)
        self.publish("a", 7, 8, settings=settings)
        self.pass_time(1.2)
        assert [one.message for one in self.look("a", None, 1, settings=settings).publications] == [7]
        assert [one.message for one in self.look("a", reverse=True, settings=settings).publications] == [8, 7]
        epoch = self.read("a", settings=settings).top.epoch
        assert not self.look("a", Position(epoch, 5), settings=settings).complete
        assert self.look("a", Position(epoch, 7), settings=settings).complete

    def test_a_page_of_a_channel_that_was_never_used_has_a_position(self) -> None:
        page = self.look("never used")
        assert (list(page.publications), page.top.offset, page.complete) == ([], 0, True)
        assert page.top.epoch == self.read("never used").top.epoch
