"""What services and programs may answer, and what becomes of it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fws.base.errors import Close, Reject
from fws.pipeline.answer import AnswerError, read_answer
from fws.pipeline.outcomes import DROP


class Recorder:
    """A client and a hub that write down what they are asked for."""

    def __init__(self) -> None:
        self.id = "ann"
        self.identity: dict[str, Any] | None = None
        self.done: list[Any] = []

    def join(self, channel: str) -> None:
        self.done.append(("join", channel))

    def leave(self, channel: str) -> None:
        self.done.append(("leave", channel))

    def send(self, message: Any) -> None:
        self.done.append(("send", message))

    def publish(self, channel: str, message: Any, *, sender: str | None = None) -> None:
        self.done.append(("publish", channel, message, sender))


def done(answer: Any) -> list[Any]:
    recorder: Any = Recorder()
    read_answer(answer).act(recorder, recorder)
    found: list[Any] = recorder.done
    return found


def test_an_empty_answer_leaves_everything_as_it_was() -> None:
    assert read_answer({}).outcome() is None
    assert done({}) == []


@pytest.mark.parametrize("message", ["hello", "", 0, False, [], {"a": None}])
def test_a_message_flows_on_instead(message: Any) -> None:
    assert read_answer({"message": message}).outcome() == message


def test_an_answer_ends_the_pipeline_the_connection_or_the_request() -> None:
    assert read_answer({"drop": True}).outcome() is DROP
    with pytest.raises(Close, match="too fast") as closed:
        read_answer({"close": {"code": 1008, "reason": "too fast"}}).outcome()
    assert closed.value.code == 1008
    with pytest.raises(Reject) as refused:
        read_answer({"reject": 403}).outcome()
    assert refused.value.status == 403


def test_everything_else_is_done_in_this_order() -> None:
    answer = {
        "reply": {"ok": True},
        "publish": [{"channel": "a", "message": 1}, {"channel": "b", "message": [2]}],
        "leave": "old",
        "join": ["one", "two"],
    }
    assert done(answer) == [
        ("join", "one"),
        ("join", "two"),
        ("leave", "old"),
        ("publish", "a", 1, "ann"),
        ("publish", "b", [2], "ann"),
        ("send", {"ok": True}),
    ]


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ([], "a JSON object"),
        (None, "a JSON object"),
        ({"mesage": 1}, "did you mean 'message'"),
        ({"message": None}, "drop = true"),
        ({"drop": "yes"}, "true or false"),
        ({"close": 1005}, "may not be sent"),
        ({"close": {"code": 1008, "reason": "x" * 124}}, "at most 123 bytes"),
        ({"close": {"code": 1008, "reason": "a\nb"}}, "control characters"),
        ({"close": {"code": True}}, "close is a number"),
        ({"reject": 200}, "between 400 and 599"),
        ({"join": "a*"}, "none of"),
        ({"join": ["a"] * 101}, "at most 100"),
        ({"join": [1]}, "a channel is a text"),
        ({"publish": {"channel": "a"}}, 'publish is {"channel"'),
        ({"publish": {"channel": "a", "message": 1, "to": "bob"}}, 'publish is {"channel"'),
        ({"identity": "ann"}, "identity is an object"),
    ],
)
def test_an_answer_that_cannot_be_used_is_refused_as_a_whole(answer: Any, why: str) -> None:
    with pytest.raises(AnswerError, match=why):
        read_answer(answer)


def test_keys_that_an_event_does_not_have_are_refused() -> None:
    with pytest.raises(AnswerError, match="no 'identity' here"):
        read_answer({"identity": {}}, ("message", "drop"))


@given(
    st.dictionaries(
        st.sampled_from(["message", "drop", "reply", "close", "join", "leave", "publish", "identity", "reject", "x"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=10),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
            max_leaves=6,
        ),
    )
)
def test_no_answer_does_more_than_its_words_say(answer: dict[str, Any]) -> None:
    try:
        found = read_answer(answer)
    except AnswerError:
        return
    recorder: Any = Recorder()
    found.act(recorder, recorder)
    try:
        found.outcome()
    except (Close, Reject):
        pass
