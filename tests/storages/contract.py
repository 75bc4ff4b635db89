"""What every storage guarantees. Memory and Redis run the same tests."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from fws.base.errors import StorageError
from fws.pipeline.storage import MAX_ANSWER, MAX_ITEMS, MAX_KEY, MAX_VALUE, Storage


class Contract:
    """A subclass sets `storage`, and `passes`, which lets this many seconds pass for it."""

    storage: Storage
    passes: Callable[[float], None]

    def test_sets(self) -> None:
        storage = self.storage
        assert (storage.members("s"), storage.size("s"), storage.contains("s", "a")) == (set(), 0, False)
        assert storage.add("s", "a", "b", "a") == 2
        assert storage.add("s", "b", "ü €") == 1
        assert (storage.members("s"), storage.size("s")) == ({"a", "b", "ü €"}, 3)
        assert storage.contains("s", "ü €")
        assert storage.contained("s", "a", "nobody", "ü €") == {"a", "ü €"}
        assert storage.contained("s", *map(str, range(2500)), "b") == {"b"}
        assert (storage.contained("s"), storage.contained("none", "a")) == (set(), set())
        assert storage.remove("s", "a", "nobody") == 1
        assert storage.remove("s", "a") == 0
        assert storage.remove("s", "b", "ü €") == 2
        assert not storage.delete("s")

    def test_maps(self) -> None:
        storage = self.storage
        assert (storage.get_field("m", "a"), storage.fields("m")) == (None, {})
        storage.set_field("m", "a", "1")
        storage.set_field("m", "a", "")
        storage.set_field("m", "b", "zwei\n")
        assert storage.fields("m") == {"a": "", "b": "zwei\n"}
        assert storage.get_field("m", "a") == ""
        assert storage.get_fields("m", "b", "nothing", *map(str, range(2500)), "a") == {"a": "", "b": "zwei\n"}
        assert (storage.get_fields("m"), storage.get_fields("none", "a")) == ({}, {})
        assert storage.delete_field("m", "a", "c") == 1
        assert storage.fields("m") == {"b": "zwei\n"}

    def test_counters(self) -> None:
        storage = self.storage
        assert [storage.increment("n"), storage.increment("n", 5), storage.increment("n", -7)] == [1, 6, -1]
        assert storage.get("n") == "-1"
        storage.set("n", "41")
        assert storage.increment("n") == 42
        for text in ("no number", "", " 5", "5 ", "+5", "05", "-0", "1_0", "5.0", "٣", "9" * 30):
            storage.set("n", text)
            with pytest.raises(StorageError):
                storage.increment("n")
            assert storage.get("n") == text
        storage.set("n", str(2**63 - 1))
        with pytest.raises(StorageError):
            storage.increment("n")

    def test_values(self) -> None:
        storage = self.storage
        assert storage.get("v") is None
        storage.set("v", "")
        assert storage.get("v") == ""
        storage.set("v", "x")
        assert storage.get("v") == "x"
        assert storage.delete("v")
        assert not storage.delete("v")
        assert storage.get("v") is None

    def test_compare_and_set(self) -> None:
        storage = self.storage
        assert storage.compare_and_set("v", None, "one")
        assert not storage.compare_and_set("v", None, "two")
        assert not storage.compare_and_set("v", "two", "three")
        assert storage.compare_and_set("v", "one", "two")
        assert storage.get("v") == "two"
        assert storage.compare_and_set("v", "two", None)
        assert storage.get("v") is None
        assert not storage.compare_and_set("v", "two", "three")
        assert storage.compare_and_set("v", None, None)
        storage.set("v", "")
        assert not storage.compare_and_set("v", None, "x")
        assert not storage.compare_and_set("v", None, None)
        assert storage.compare_and_set("v", "", "x")
        storage.add("s", "a")
        assert not storage.compare_and_set("s", None, "whatever is there is something")

    def test_a_key_holds_one_kind(self) -> None:
        storage = self.storage
        storage.add("s", "a")
        storage.set_field("m", "a", "1")
        storage.set("v", "x")
        wrong: list[Callable[[], object]] = [
            lambda: storage.get("s"),
            lambda: storage.increment("m"),
            lambda: storage.members("v"),
            lambda: storage.add("m", "a"),
            lambda: storage.fields("s"),
            lambda: storage.set_field("v", "a", "1"),
            lambda: storage.compare_and_set("s", "a", "b"),
        ]
        for call in wrong:
            with pytest.raises(StorageError):
                call()
        storage.set("s", "a plain value takes any key")
        assert storage.get("s") == "a plain value takes any key"

    def test_a_failed_change_does_not_change_the_expiry(self) -> None:
        """Fault: the change failed, and the expiry that was set with it deleted the list of another application."""
        storage = self.storage
        storage.set("v", "somebody's")
        for change in (
            lambda: storage.add("v", "a", expire=60),
            lambda: storage.set_field("v", "a", "1", expire=60),
            lambda: storage.increment("v", expire=60),
        ):
            with pytest.raises(StorageError):
                change()
        self.passes(60)
        assert storage.get("v") == "somebody's"

    def test_keys_and_values_have_their_bounds(self) -> None:
        for key in ("", "k" * (MAX_KEY + 1), "ü" * (MAX_KEY // 2 + 1)):
            with pytest.raises(ValueError, match="key"):
                self.storage.get(key)
        with pytest.raises(ValueError, match="value"):
            self.storage.set("v", "x" * (MAX_VALUE + 1))
        self.storage.set("k" * MAX_KEY, "x" * MAX_VALUE)
        assert self.storage.get("k" * MAX_KEY) == "x" * MAX_VALUE

    def test_text_that_utf_8_cannot_encode_is_refused(self) -> None:
        """Fault: the memory accepted a lone surrogate, and Redis did not."""
        storage, lone = self.storage, "\ud800"
        for call in (
            lambda: storage.get(lone),
            lambda: storage.set("v", lone),
            lambda: storage.add("s", "a", lone),
            lambda: storage.contains("s", lone),
            lambda: storage.set_field("m", lone, "1"),
            lambda: storage.compare_and_set("v", None, lone),
        ):
            with pytest.raises(ValueError, match="surrogates"):
                call()
        assert storage.size("s") == 0

    @pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), 1e15])
    def test_a_time_that_is_none_is_refused(self, seconds: float) -> None:
        """Fault: the memory kept a key permanently that Redis refused, and removed at once what Redis kept for a
        moment.
        """
        storage = self.storage
        for call in (
            lambda: storage.add("s", "a", expire=seconds),
            lambda: storage.set_field("m", "a", "1", expire=seconds),
            lambda: storage.increment("n", expire=seconds),
            lambda: storage.set("v", "x", expire=seconds),
            lambda: storage.compare_and_set("v", None, "x", expire=seconds),
        ):
            with pytest.raises(ValueError, match="seconds"):
                call()
        assert not any(storage.delete(key) for key in "smnv")

    def test_too_many_items_are_no_answer(self) -> None:
        self.storage.add("s", *(f"{number}" for number in range(MAX_ITEMS + 1)))
        with pytest.raises(StorageError, match="items"):
            self.storage.members("s")
        assert self.storage.contains("s", "7")
        assert self.storage.size("s") == MAX_ITEMS + 1

    def test_many_members_may_have_an_expiry(self) -> None:
        assert self.storage.add("s", *(f"{number}" for number in range(MAX_ITEMS)), "7", expire=60) == MAX_ITEMS
        assert len(self.storage.members("s")) == MAX_ITEMS
        self.passes(60)
        assert self.storage.size("s") == 0

    def test_too_many_bytes_are_no_answer(self) -> None:
        for number in range(MAX_ANSWER // MAX_VALUE + 1):
            self.storage.set_field("m", f"{number}", "x" * MAX_VALUE)
            self.storage.add("s", f"{number}".ljust(MAX_VALUE))
        for ask in (self.storage.fields, self.storage.members):
            with pytest.raises(StorageError, match="bytes"):
                ask("m" if ask == self.storage.fields else "s")
        assert self.storage.get_field("m", "0") == "x" * MAX_VALUE

    def test_expiry_forgets_the_whole_key(self) -> None:
        storage, short = self.storage, 60
        storage.add("s", "a", expire=short)
        storage.add("s", "b")
        storage.set_field("m", "a", "1", expire=short)
        storage.set("v", "x", expire=short)
        storage.set("w", "x", expire=short)
        storage.set("w", "y")
        assert storage.compare_and_set("c", None, "x", expire=short)
        assert storage.members("s") == {"a", "b"}
        self.passes(short)
        assert (storage.members("s"), storage.fields("m"), storage.get("v")) == (set(), {}, None)
        assert storage.get("w") == "y"
        assert storage.compare_and_set("c", None, "again")

    def test_a_change_renews_the_expiry_but_a_counters_counts_from_its_beginning(self) -> None:
        storage, short = self.storage, 60
        storage.add("s", "a", expire=short)
        storage.increment("n", expire=short)
        self.passes(short * 0.6)
        storage.add("s", "a", expire=short)
        assert storage.increment("n", expire=short) == 2
        self.passes(short * 0.6)
        assert storage.members("s") == {"a"}
        assert storage.increment("n", expire=short) == 1

    def test_buckets(self) -> None:
        storage = self.storage
        assert storage.take("b", 3, 1 / 60, 10) == (3, 0.0)
        assert storage.take("b", 100, 1 / 60, 10).tokens == 7
        for taken, tokens in ((storage.take("b", 1, 1 / 60, 10), 0), (storage.take("other", 1, 1 / 60, 1), 1)):
            assert taken.tokens == tokens
            assert 50 < taken.wait <= 60
        self.passes(600)
        assert storage.get("b") is None, "a full bucket needs no memory"
        assert storage.take("b", 100, 1 / 60, 10).tokens == 10

    def test_a_bucket_lacks_no_more_than_all_its_tokens(self) -> None:
        """The rate of a stage was raised, the clock of the storage was set back, or somebody wrote a number there."""
        self.storage.set("b", "9e300")
        taken = self.storage.take("b", 1, 1 / 60, 10)
        assert taken.tokens == 0
        assert 50 < taken.wait <= 60
        for nothing in ("0", "-5", "nan"):
            self.storage.set("b", nothing)
            assert self.storage.take("b", 10, 1 / 60, 10).tokens == 10

    def test_a_bucket_that_is_none(self) -> None:
        self.storage.set("v", "no number")
        self.storage.add("s", "a")
        for key in "vs":
            with pytest.raises(StorageError):
                self.storage.take(key, 1, 1.0, 1)
        for count, rate, burst in ((0, 1.0, 1), (1, 0.0, 1), (1, 1.0, 0), (1, float("nan"), 1), (1, 1e-9, 100)):
            with pytest.raises(ValueError, match="rate above 0"):
                self.storage.take("b", count, rate, burst)

    def test_several_callers_get_a_token_once(self) -> None:
        taken: list[int] = []
        threads = [
            threading.Thread(target=lambda: taken.append(self.storage.take("b", 3, 1 / 60, 10).tokens))
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(taken) == [0, 0, 0, 0, 1, 3, 3, 3]

    def test_only_one_of_several_callers_gets_a_member(self) -> None:
        self.storage.add("tokens", "t")
        won: list[str] = []

        def take() -> None:
            if self.storage.remove("tokens", "t"):
                won.append("removed")
            if self.storage.compare_and_set("once", None, "mine"):
                won.append("set")

        threads = [threading.Thread(target=take) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(won) == ["removed", "set"]
