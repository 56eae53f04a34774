"""The breaker of one model, under any order of calls, ends and pauses. Time is what the test says it is."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from cheapfirst.messages import Fault
from cheapfirst.policy.table import BreakerOptions
from cheapfirst.upstream import breaker
from cheapfirst.upstream.breaker import COUNTED, SILENT_ON, SLOTS, Breaker, Breakers, Pass

OPTIONS = BreakerOptions(window=10.0, share=0.5, least=4, pause=5.0)
BAD = Fault(name="server_error", sentence="It failed.")
LIMITED = Fault(name="rate_limited", sentence="Slow down.")


def failing(options: BreakerOptions = OPTIONS, now: float = 100.0) -> Breaker:
    """A breaker that has just opened."""
    made = Breaker(options)
    for _ in range(options.least):
        assert made.admit(now) == "call"
        made.report("call", BAD, now)
    assert made.state(now) == "open"
    return made


def test_enough_faults_open_it_and_the_first_probes_answer_closes_it() -> None:
    made = failing()
    assert made.admit(104.9) is None
    assert made.wait(103.0) == pytest.approx(2.0)
    assert made.state(105.0) == "half-open"
    assert made.admit(105.0) == "probe"
    assert made.admit(105.1) is None  # one probe at a time
    made.report("probe", None, 106.0)
    assert made.state(106.0) == "closed"
    assert made.admit(106.0) == "call"


def test_the_probes_fault_opens_it_for_another_pause() -> None:
    made = failing()
    assert made.admit(105.0) == "probe"
    made.report("probe", BAD, 107.0)
    assert made.state(107.0) == "open"
    assert made.admit(111.9) is None
    assert made.admit(112.0) == "probe"


def test_a_probe_that_never_ends_is_followed_by_another_after_a_pause() -> None:
    made = failing()
    assert made.admit(105.0) == "probe"
    assert made.admit(109.9) is None
    assert made.admit(110.0) == "probe"


def test_a_probe_that_told_nothing_lets_the_next_call_be_the_probe() -> None:
    made = failing()
    assert made.admit(105.0) == "probe"
    made.report("probe", breaker.LEFT, 105.5)
    assert made.admit(105.5) == "probe"


def test_few_faults_or_a_small_share_of_them_do_not_open_it() -> None:
    made = Breaker(OPTIONS)
    for _ in range(OPTIONS.least - 1):
        made.report("call", BAD, 1.0)
    assert made.state(1.0) == "closed"
    made = Breaker(OPTIONS)
    for _ in range(100):
        made.report("call", None, 1.0)
        made.report("call", None, 1.0)
        made.report("call", BAD, 1.0)
    assert made.state(1.0) == "closed"


def test_faults_beyond_the_window_are_forgotten() -> None:
    made = Breaker(OPTIONS)
    for now in range(0, 200, 11):
        made.report("call", BAD, float(now))
        assert made.state(float(now)) == "closed"


@pytest.mark.parametrize("name", sorted(SILENT_ON))
def test_what_says_nothing_about_the_model_never_opens_it(name: str) -> None:
    made = Breaker(OPTIONS)
    for _ in range(50):
        made.report("call", Fault(name=name, sentence="-"), 1.0)
    assert made.state(1.0) == "closed"


@pytest.mark.parametrize("name", ["bad_request", "unauthorized", "moderation", "context_length", "not_found"])
def test_what_the_request_did_wrong_never_opens_it(name: str) -> None:
    made = Breaker(OPTIONS)
    for _ in range(50):
        made.report("call", Fault(name=name, sentence="-"), 1.0)
    assert made.state(1.0) == "closed"


def test_rate_limits_count_only_when_they_come_one_after_the_other() -> None:
    made = Breaker(OPTIONS)
    for _ in range(50):
        made.report("call", LIMITED, 1.0)
        made.report("call", LIMITED, 1.0)
        made.report("call", None, 1.0)
    assert made.state(1.0) == "closed"
    made = Breaker(OPTIONS)
    for _ in range(breaker.REPEATED + OPTIONS.least):
        made.report("call", LIMITED, 1.0)
    assert made.state(1.0) == "open"


def test_calls_that_began_before_it_opened_change_nothing_when_they_end() -> None:
    made = failing()
    made.report("call", None, 101.0)
    made.report("call", BAD, 104.0)
    assert made.state(101.0) == "open"
    assert made.wait(104.0) == pytest.approx(1.0)


def test_only_so_many_models_are_watched() -> None:
    many = Breakers(OPTIONS)
    for number in range(breaker.MOST + 10):
        many.of(f"model {number}").report("call", None, 1.0)
    assert len(many.states(1.0)) == breaker.MOST
    assert "model 0" not in many.states(1.0)


class Machine(RuleBasedStateMachine):
    """Calls of one model in any order; a plain list of what happened says what must be so."""

    @initialize(
        share=st.sampled_from([0.1, 0.5, 1.0]),
        least=st.integers(1, 6),
        window=st.sampled_from([1.0, 10.0]),
        pause=st.sampled_from([0.5, 5.0]),
    )
    def begin(self, share: float, least: int, window: float, pause: float) -> None:
        self.options = BreakerOptions(window=window, share=share, least=least, pause=pause)
        self.breaker = Breaker(self.options)
        self.now = 50.0
        self.out: list[Pass] = []
        self.counted: list[tuple[float, bool]] = []  # ends of calls since it was last closed
        self.last_probe = -1.0

    @rule(seconds=st.sampled_from([0.0, 0.01, 0.1, 0.5, 1.0, 3.0, 20.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def call(self) -> None:
        before = self.breaker.state(self.now)
        passed = self.breaker.admit(self.now)
        if before == "closed":
            assert passed == "call"
        elif passed is not None:
            assert passed == "probe"
            assert before == "half-open"
            self.last_probe = self.now
        if passed is not None:
            self.out.append(passed)

    @precondition(lambda self: self.out)
    @rule(which=st.integers(0, 100), fault=st.sampled_from([None, None, BAD, BAD, breaker.LEFT]))
    def end(self, which: int, fault: Fault | None) -> None:
        passed = self.out.pop(which % len(self.out))
        before = self.breaker.state(self.now)
        self.breaker.report(passed, fault, self.now)
        after = self.breaker.state(self.now)
        if fault is breaker.LEFT:
            assert (before == "closed") == (after == "closed")
        elif before == "closed":
            self.counted.append((self.now, fault is BAD))
            if after != "closed":
                recent = [bad for at, bad in self.counted if at > self.now - self.options.window * (1 + 1 / SLOTS)]
                assert fault is BAD
                assert len(recent) >= self.options.least
            else:
                inside = [bad for at, bad in self.counted if at >= self.now - self.options.window * (1 - 1 / SLOTS)]
                everything = len(inside) == len(self.counted)
                assert not (
                    everything
                    and fault is BAD
                    and len(inside) >= self.options.least
                    and sum(inside) >= self.options.share * len(inside)
                )
        elif after == "closed":
            assert passed == "probe"
            assert fault is None
            self.counted.clear()

    @invariant()
    def it_always_lets_somebody_through_in_the_end(self) -> None:
        if not hasattr(self, "breaker"):
            return
        wait = self.breaker.wait(self.now)
        assert 0.0 <= wait <= self.options.pause
        if self.breaker.state(self.now) == "open":
            assert self.breaker.state(self.now + wait + 1e-6) == "half-open"


TestMachine = Machine.TestCase


def test_faults_that_count_and_faults_that_say_nothing_are_not_the_same() -> None:
    assert not COUNTED & SILENT_ON
