"""Which function serves which request."""

from __future__ import annotations

from fws.nodes.answers import Answers


def test_requests_are_served_by_kind() -> None:
    answers = Answers()
    answers.add("double", lambda request: request["number"] * 2)
    assert answers({"do": "double", "number": 4}) == 8


def test_a_request_of_a_later_version_has_no_answer() -> None:
    answers = Answers()
    assert answers({"do": "unheard of"}) is None
    assert answers({"do": ["double"]}) is None
    assert answers({}) is None
