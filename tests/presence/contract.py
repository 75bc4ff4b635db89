"""What every presence promises. A back end's tests inherit from the mixin, so that all pass the same tests."""

from __future__ import annotations

from collections.abc import Sequence

from fws.config import Channel
from fws.presence.base import Change, Presence, Present

SHOWN = Channel(presence=True)
LINGERING = Channel(presence=True, linger=1.0)


class Recorder:
    """A watcher that keeps what it is told."""

    def __init__(self) -> None:
        self.changes: list[Change] = []
        self.lists: list[list[str]] = []

    def changed(self, channel: str, change: Change) -> None:
        self.changes.append(change)

    def renewed(self, channel: str, present: Sequence[Present]) -> None:
        self.lists.append(sorted(one.client for one in present))

    def take(self) -> tuple[list[str], list[str], bool]:
        """Who joined and left since the last call, and whether all of it was quiet."""
        changes, self.changes = self.changes, []
        joined = [one.client for change in changes for one in change.joined]
        left = [client for change in changes for client in change.left]
        return joined, left, bool(changes) and all(change.quiet for change in changes)


class PresenceContract:
    """The tests. A subclass makes the presence.

    Attributes:
        presence: begun with `watcher`.
    """

    presence: Presence
    watcher: Recorder

    def settle(self) -> None:
        """Wait until everything that was called has happened."""

    def pass_time(self, seconds: float) -> None:
        raise NotImplementedError

    def join(self, client: str, user: str = "", settings: Channel = SHOWN, **info: object) -> None:
        self.presence.join("a", Present(client, user, info), settings)
        self.settle()

    def leave(self, client: str, settings: Channel = SHOWN) -> None:
        self.presence.leave("a", client, settings)
        self.settle()

    def who(self, channel: str = "a") -> list[str]:
        return [one.client for one in self.everybody(channel)]

    def everybody(self, channel: str = "a") -> list[Present]:
        answers: list[Sequence[Present] | None] = []
        self.presence.who(channel, answers.append)
        self.settle()
        [found] = answers
        assert found is not None
        return sorted(found, key=lambda one: one.client)

    def watch(self) -> None:
        self.presence.watch("a", SHOWN)
        self.settle()

    def test_members_are_present_with_user_and_info(self) -> None:
        self.join("c1", "ann", name="Ann", age=7)
        self.join("c2")
        assert self.everybody() == [Present("c1", "ann", {"name": "Ann", "age": 7}), Present("c2")]
        assert self.who("other") == []
        self.leave("c1")
        assert self.who() == ["c2"]

    def test_leaving_twice_and_leaving_without_joining_has_no_effect(self) -> None:
        self.leave("c1")
        self.join("c1")
        self.leave("c1")
        self.leave("c1")
        assert self.who() == []

    def test_watchers_are_told(self) -> None:
        self.join("c1")
        self.watch()
        assert self.watcher.lists[-1] == ["c1"]
        self.join("c2", "bob")
        self.leave("c1")
        assert self.watcher.take() == (["c2"], ["c1"], False)
        self.presence.unwatch("a")
        self.join("c3")
        assert self.watcher.take() == ([], [], False)

    def test_other_info_is_a_change_and_the_same_is_none(self) -> None:
        self.watch()
        self.join("c1", name="Ann")
        self.join("c1", name="Ann")
        assert self.watcher.take() == (["c1"], [], False)
        self.join("c1", name="Anna")
        assert self.watcher.take() == (["c1"], [], False)
        assert self.everybody() == [Present("c1", "", {"name": "Anna"})]

    def test_a_user_who_returns_in_time_has_neither_left_nor_joined(self) -> None:
        self.watch()
        self.join("c1", "ann", LINGERING)
        self.watcher.take()
        self.leave("c1", LINGERING)
        assert self.who() == ["c1"]
        assert self.watcher.take() == ([], [], False)
        self.join("c2", "ann", LINGERING)
        assert self.who() == ["c2"]
        assert self.watcher.take() == (["c2"], ["c1"], True)
        self.pass_time(3)
        assert self.who() == ["c2"]
        assert self.watcher.take() == ([], [], False)

    def test_a_user_who_does_not_return_has_left(self) -> None:
        self.watch()
        self.join("c1", "ann", LINGERING)
        self.watcher.take()
        self.leave("c1", LINGERING)
        self.pass_time(3)
        assert self.who() == []
        assert self.watcher.take() == ([], ["c1"], False)

    def test_a_client_that_rejoins_itself_in_time_has_not_left(self) -> None:
        self.join("c1", "ann", LINGERING)
        self.leave("c1", LINGERING)
        self.join("c1", "ann", LINGERING)
        self.pass_time(3)
        assert self.who() == ["c1"]

    def test_nobody_in_particular_does_not_linger(self) -> None:
        self.join("c1", "", LINGERING)
        self.leave("c1", LINGERING)
        assert self.who() == []

    def test_a_second_client_of_the_user_is_another_one(self) -> None:
        self.watch()
        self.join("c1", "ann", LINGERING)
        self.join("c2", "ann", LINGERING)
        self.leave("c1", LINGERING)
        self.leave("c2", LINGERING)
        self.join("c3", "ann", LINGERING)
        self.pass_time(3)
        assert self.who() == ["c3"]
        assert self.watcher.take()[:2] == (["c1", "c2", "c3"], ["c1", "c2"])

    def test_unusual_names_and_info(self) -> None:
        user = 'a"b\\c\u2028\nü💡'
        self.join("c1", user, LINGERING, text='"]}\n{[\x00')
        self.leave("c1", LINGERING)
        self.join("c2", user, LINGERING, text='"]}\n{[\x00')
        assert self.everybody() == [Present("c2", user, {"text": '"]}\n{[\x00'})]

    def test_a_second_client_that_changes_does_not_take_the_place_of_one_that_lingers(self) -> None:
        """The first was removed, and nobody was told."""
        self.watch()
        self.join("c1", "ann", LINGERING)
        self.join("c2", "ann", LINGERING, name="Ann")
        self.leave("c1", LINGERING)
        self.join("c2", "ann", LINGERING, name="Anna")
        assert self.who() == ["c1", "c2"]
        self.pass_time(3)
        assert self.who() == ["c2"]
        assert self.watcher.take()[1] == ["c1"]
