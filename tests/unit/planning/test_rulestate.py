"""How a rule stands, and whether it keeps its promise."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from mirrord.planning.memory import ImageState
from mirrord.planning.rulestate import WORST_FIRST, freshness_seconds, is_fresh, rule_state, severity
from mirrord.planning.status import RuleState

NOW = datetime(2026, 3, 5, 13, 44, tzinfo=UTC)
HOUR = 3600.0


def ago(**span: float) -> datetime:
    return NOW - timedelta(**span)


@pytest.mark.parametrize(
    ("images", "state"),
    [
        ({}, RuleState.IN_SYNC),
        ({ImageState.IN_SYNC: 4}, RuleState.IN_SYNC),
        ({ImageState.IN_SYNC: 4, ImageState.FAILED: 0}, RuleState.IN_SYNC),
        ({ImageState.IN_SYNC: 4, ImageState.COPYING: 1}, RuleState.OUT_OF_SYNC),
        ({ImageState.OUT_OF_SYNC: 4, ImageState.WAITING: 1}, RuleState.WAITING),
        ({ImageState.WAITING: 4, ImageState.BLOCKED: 1}, RuleState.BLOCKED),
        ({ImageState.BLOCKED: 4, ImageState.STALLED: 1}, RuleState.STALLED),
        ({ImageState.STALLED: 4, ImageState.FAILED: 1}, RuleState.FAILED),
    ],
)
def test_rule_stands_as_the_worst_of_its_images(images: dict[ImageState, int], state: RuleState) -> None:
    assert rule_state(images, has_looked=True, is_blind=False) is state


def test_every_state_has_a_place_among_the_worst() -> None:
    assert sorted(RuleState, key=severity) == list(WORST_FIRST)


def test_rule_that_never_looked_is_new() -> None:
    assert rule_state({}, has_looked=False, is_blind=False) is RuleState.NEW


@pytest.mark.parametrize("has_looked", [True, False])
def test_rule_that_cannot_see_its_source_has_failed(has_looked: bool) -> None:
    images = {ImageState.IN_SYNC: 4}

    assert rule_state(images, has_looked=has_looked, is_blind=True) is RuleState.FAILED


def test_freshness_is_the_age_of_the_oldest_change() -> None:
    assert freshness_seconds(ago(minutes=2), NOW) == 120
    assert freshness_seconds(None, NOW) == 0
    # A clock that was set back makes no age below zero.
    assert freshness_seconds(NOW + timedelta(minutes=1), NOW) == 0


@pytest.mark.parametrize(
    ("state", "objective", "behind_since", "fresh"),
    [
        pytest.param(RuleState.NEW, HOUR, None, True, id="new"),
        pytest.param(RuleState.IN_SYNC, None, None, True, id="no-promise-in-sync"),
        pytest.param(RuleState.OUT_OF_SYNC, None, ago(seconds=1), False, id="no-promise-behind"),
        pytest.param(RuleState.BLOCKED, None, None, False, id="no-promise-blocked"),
        pytest.param(RuleState.OUT_OF_SYNC, HOUR, ago(minutes=60), True, id="promise-just-kept"),
        pytest.param(RuleState.OUT_OF_SYNC, HOUR, ago(minutes=61), False, id="promise-broken"),
        pytest.param(RuleState.FAILED, HOUR, ago(minutes=5), True, id="failed-within-the-promise"),
    ],
)
def test_rule_is_fresh_while_it_keeps_its_promise(
    state: RuleState, objective: float | None, behind_since: datetime | None, fresh: bool
) -> None:
    found = is_fresh(
        state,
        behind_since=behind_since,
        objective_seconds=objective,
        last_looked=ago(hours=6),
        is_blind=False,
        now=NOW,
    )

    assert found is fresh


@pytest.mark.parametrize(
    ("last_looked", "fresh"),
    [(None, False), (ago(minutes=61), False), (ago(minutes=59), True)],
    ids=["never", "old", "young"],
)
def test_blind_rule_is_fresh_no_longer_than_its_promise(last_looked: datetime | None, fresh: bool) -> None:
    found = is_fresh(
        RuleState.FAILED,
        behind_since=None,
        objective_seconds=HOUR,
        last_looked=last_looked,
        is_blind=True,
        now=NOW,
    )

    assert found is fresh
