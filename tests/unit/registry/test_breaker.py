"""The breaker of a registry that keeps failing."""

from __future__ import annotations

import random

from mirrord.registry.breaker import LEAST_CALLS, PROBE_EVERY_S, WINDOW_S, Breaker
from tests.fakes.clock import FakeClock


def opened() -> tuple[Breaker, FakeClock]:
    clock = FakeClock()
    breaker = Breaker(clock, random.Random(3))
    for _ in range(LEAST_CALLS):
        breaker.failed()
    return breaker, clock


def test_breaker_stays_closed_while_few_calls_were_made() -> None:
    breaker = Breaker(FakeClock(), random.Random(3))
    for _ in range(LEAST_CALLS - 1):
        breaker.failed()

    assert breaker.allows()
    assert not breaker.is_open


def test_breaker_opens_when_half_of_the_calls_failed() -> None:
    breaker = Breaker(FakeClock(), random.Random(3))
    for _ in range(LEAST_CALLS):
        breaker.succeeded()
        assert not breaker.is_open
        breaker.failed()

    assert breaker.is_open
    assert not breaker.allows()


def test_breaker_stays_closed_when_fewer_than_half_failed() -> None:
    breaker = Breaker(FakeClock(), random.Random(3))
    for _ in range(LEAST_CALLS):
        breaker.succeeded()
        breaker.succeeded()
        breaker.failed()

    assert not breaker.is_open


def test_old_calls_do_not_count() -> None:
    clock = FakeClock()
    breaker = Breaker(clock, random.Random(3))
    for _ in range(LEAST_CALLS - 1):
        breaker.failed()
    clock.advance(WINDOW_S + 1)
    breaker.failed()

    assert not breaker.is_open


def test_open_breaker_lets_one_probe_through_at_a_time() -> None:
    breaker, clock = opened()
    for _ in range(5):
        assert not breaker.allows()
        clock.advance(PROBE_EVERY_S * 1.25)
        assert breaker.allows()
        assert not breaker.allows(), "its probe is under way"
        breaker.failed()

    assert breaker.is_open


def test_probe_that_succeeds_closes_the_breaker_and_forgets_the_past() -> None:
    breaker, clock = opened()
    clock.advance(PROBE_EVERY_S * 1.25)
    assert breaker.allows()
    breaker.succeeded()

    assert not breaker.is_open
    breaker.failed()
    assert breaker.allows()
