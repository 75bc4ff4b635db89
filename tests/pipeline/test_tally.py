"""What a pipeline says about its stages is what somebody who stands beside each stage has counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from gevent import GreenletExit
from hypothesis import given
from hypothesis import strategies as st

from fws.base.errors import Close, Reject
from fws.base.histogram import PER_OCTAVE, Histogram, percentile
from fws.pipeline.outcomes import DROP, Ask, Later, Several
from fws.pipeline.pipeline import Pipeline, Step, StepId
from fws.pipeline.tally import StageCounts

OUTCOMES = ["pass", "change", "drop", "several", "none", "later", "fault", "wrong", "close", "refuse"]


class Flow:
    """A client that lets messages flow on at once when a filter has kept them back."""

    def __init__(self) -> None:
        self.ready: list[Callable[[], Any]] = []

    def take_part(self) -> None:
        pass

    def resume(self, rest: Pipeline) -> Callable[[Any], None]:
        return lambda message: self.ready.append(lambda: rest.run(self, message))

    def say(self, pipeline: Pipeline, message: Any) -> None:
        self.ready.append(lambda: pipeline.run(self, message))
        while self.ready:
            try:
                self.ready.pop(0)()
            except Exception:
                pass


class Stages:
    """Filters that do what they are told, and count for themselves."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()

    def step(self, name: str, outcomes: list[str], branch: Pipeline | None = None) -> Step:
        turn = iter(outcomes)

        def act(client: Any, value: Any) -> Any:
            outcome = next(turn, "pass")
            self.counts[name, "runs"] += 1
            return self.outcome(name, outcome, value)

        def inner(client: Any, value: Any) -> Any:
            assert branch is not None
            self.counts[name, "runs"] += 1
            try:
                result = branch.run(client, value)
            except Exception as error:
                self.counts[name, type(error).__name__] += 1
                raise
            if result is DROP:
                self.counts[name, "drops"] += 1
            return result

        branches = () if branch is None else (("inner", branch),)
        hook = act if branch is None else inner
        return Step(hook, name, "", id=StepId(None, "message", (name,)), branches=branches)

    def outcome(self, name: str, outcome: str, value: Any) -> Any:
        match outcome:
            case "change":
                return value + "."
            case "drop":
                self.counts[name, "drops"] += 1
                return DROP
            case "several":
                return Several([value, value])
            case "none":
                return Several([])
            case "later":

                def begin(go_on: Callable[[Any], None]) -> None:
                    go_on(value)
                    go_on(value)

                return Later(begin)
            case "fault":
                self.counts[name, "ValueError"] += 1
                raise ValueError
            case "wrong":
                self.counts[name, "HookResultError"] += 1
                return NotImplemented
            case "close":
                self.counts[name, "Close"] += 1
                raise Close(4000)
            case "refuse":
                self.counts[name, "Reject"] += 1
                raise Reject(403)
        return None


plans = st.lists(st.lists(st.sampled_from(OUTCOMES), max_size=12), min_size=1, max_size=4)


@given(plans, plans, st.booleans(), st.integers(1, 8))
def test_a_tally_counts_what_each_stage_has_counted(
    outer: list[list[str]], inner: list[list[str]], measured: bool, messages: int
) -> None:
    """Whatever stages do: drop, split, keep back, fail; also in a branch, whose rest joins that of the pipeline."""
    stages = Stages()
    branch = Pipeline("message", [stages.step(f"inner{n}", plan) for n, plan in enumerate(inner)], inner=True)
    steps = [stages.step(f"outer{n}", plan) for n, plan in enumerate(outer)]
    steps.insert(len(steps) // 2, stages.step("branch", [], branch))
    pipeline = Pipeline("message", steps)
    if measured:
        for one in (pipeline, branch):
            one.tally.measure(lambda: 0.0)
    flow = Flow()
    for _ in range(messages):
        flow.say(pipeline, "x")
    for one in (pipeline, branch):
        for id, counts in one.counts():
            name = id.stage[0]
            assert counts.runs == stages.counts[name, "runs"], name
            assert counts.drops == stages.counts[name, "drops"], name
            faults = stages.counts[name, "ValueError"] + stages.counts[name, "HookResultError"]
            assert counts.faults == faults, name
            assert counts.closes == stages.counts[name, "Close"], name
            assert counts.refusals == stages.counts[name, "Reject"], name
    assert pipeline.tally.begun == messages


def test_a_question_to_the_client_begins_the_rest_of_connect_anew() -> None:
    ask = Ask(lambda client, message: None, 1.0)
    hooks = [lambda client: None, lambda client: ask, lambda client: None]
    ids = [StepId(None, "connect", (name,)) for name in "abc"]
    pipeline = Pipeline("connect", [Step(hook, "x", "", id=id) for hook, id in zip(hooks, ids, strict=True)])
    for _ in range(3):
        assert pipeline.happen(None) == (ask, 2)
    pipeline.happen(None, 2)  # one client has answered
    assert [counts.runs for _, counts in pipeline.counts()] == [3, 3, 1]


def runs_every(seconds: float, number: int) -> Histogram:
    """The histogram of a stage that takes 1 ms, and runs so often at this distance."""
    now = [0.0]

    def hook(client: Any, value: Any) -> None:
        now[0] += 0.001

    pipeline = Pipeline("message", [Step(hook, "x", "", id=StepId(None, "message", ("x",)))])
    pipeline.tally.measure(lambda: now[0])
    for _ in range(number):
        pipeline.run(None, "x")
        now[0] += seconds
    return next(pipeline.counts())[1].times


def test_rare_runs_are_all_measured() -> None:
    times = runs_every(0.1, 50)
    assert times.count == 50
    assert times.seconds == pytest.approx(0.05)
    assert list(times.times) == [39]  # 2 ** (39 / 4) µs is 861 µs


def test_of_many_runs_few_are_measured_and_stand_for_all() -> None:
    times = runs_every(0.00001, 100_000)
    assert times.count == pytest.approx(100_000, abs=256)
    assert times.seconds == pytest.approx(100.0, rel=0.01)


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt()])
def test_what_ends_a_program_is_a_fault_of_the_filter(error: BaseException) -> None:
    """The log and the page had such a fault, and the metrics of the stage had none."""
    counts = StageCounts()
    counts.ended(error)
    assert counts.faults == 1


def test_what_ends_a_greenlet_is_no_fault() -> None:
    def hook(client: Any, value: Any) -> None:
        raise GreenletExit

    pipeline = Pipeline("message", [Step(hook, "x", "")])
    with pytest.raises(GreenletExit):
        pipeline.run(None, "x")
    counts = next(pipeline.counts())[1]
    assert (counts.runs, counts.faults) == (1, 0)


@given(st.lists(st.floats(0, 100), max_size=50), st.integers(0, 24))
def test_a_histogram_knows_how_many_stayed_below_a_power_of_two(seconds: list[float], octave: int) -> None:
    histogram = Histogram()
    for one in seconds:
        histogram.observe(one)
    limit = 2.0**octave * 1e-6
    # A duration within a millionth of the limit may fall on either side.
    at_least = sum(one < limit * (1 - 1e-6) for one in seconds) if octave else 0
    at_most = sum(one < limit * (1 + 1e-6) for one in seconds) if octave else 0
    below = sum(number for bucket, number in histogram.times.items() if bucket < octave * PER_OCTAVE)
    assert at_least <= below <= at_most
    assert histogram.count == len(seconds)


def test_a_histogram_tells_what_has_come_since() -> None:
    histogram = Histogram()
    histogram.observe(0.001)
    before = Histogram(histogram.times, histogram.seconds)
    histogram.observe(0.1, 9)
    change = histogram.since(before)
    assert change.count == 9
    assert change.seconds == pytest.approx(0.9)
    assert percentile(change.times, 0.5) == pytest.approx(1e5, rel=0.2)
    assert percentile({}, 0.5) == 0.0
