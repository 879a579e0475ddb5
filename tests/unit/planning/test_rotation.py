"""The turns in which tags are looked at although listings call them unchanged."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise

import pytest

from mirrord.oci.reference import LayoutDirectory, Location, Repository, Tag
from mirrord.planning.rotation import TURN_S, TURNS, is_due

PLACE = Repository("registry.test", "team/app")
START = datetime(2026, 3, 1, 10, 7, 13, tzinfo=UTC)


def checks(tag: Tag, every: timedelta, runs: int, place: Location = PLACE) -> list[datetime]:
    """Return the runs that check a tag."""
    moments = [START + every * run for run in range(runs)]
    return [moment for moment in moments if is_due(place, tag, moment)]


@pytest.mark.parametrize("minutes", [1, 5, 15, 20])
def test_every_tag_is_checked_within_a_day_of_runs_at_most_a_turn_apart(minutes: int) -> None:
    every = timedelta(minutes=minutes)

    for number in range(200):
        moments = checks(Tag(f"1.{number}"), every, 3 * 24 * 60 // minutes)
        gaps = [later - earlier for earlier, later in pairwise(moments)]

        assert moments[0] - START < timedelta(days=1)
        assert max(gaps) < timedelta(days=1)


@pytest.mark.parametrize(("hours", "days"), [(1, 3), (6, 18), (24, 71)])
def test_rarer_runs_come_to_every_tag_in_the_end(hours: int, days: int) -> None:
    for number in range(200):
        assert checks(Tag(f"1.{number}"), timedelta(hours=hours), TURNS)

    assert timedelta(hours=hours) * TURNS <= timedelta(days=days)


def test_a_run_checks_about_one_in_seventy_one_tags() -> None:
    tags = [Tag(f"v{number}") for number in range(7100)]
    moments = [START + timedelta(seconds=TURN_S * turn) for turn in range(TURNS)]

    due = [sum(is_due(PLACE, tag, moment) for tag in tags) for moment in moments]

    assert sum(due) == 7100, "each tag has one turn"
    assert min(due) >= 60
    assert max(due) <= 150


def test_turns_depend_on_registry_repository_and_tag() -> None:
    places: list[Location] = [
        PLACE,
        Repository("other.test", "team/app"),
        Repository("registry.test", "team/web"),
        LayoutDirectory("x"),
    ]
    moments = [START + timedelta(seconds=TURN_S * turn) for turn in range(TURNS)]

    turns = Counter(
        next(turn for turn, moment in enumerate(moments) if is_due(place, Tag(tag), moment))
        for place in places
        for tag in ("1.0", "2.0")
    )

    assert len(turns) > 4


def test_turns_are_the_same_in_every_zone_and_process() -> None:
    berlin = START.astimezone(timezone(timedelta(hours=1)))

    tags = [Tag(f"1.{number}") for number in range(300)]

    assert [is_due(PLACE, tag, berlin) for tag in tags] == [is_due(PLACE, tag, START) for tag in tags]
    assert [tag.name for tag in tags if is_due(PLACE, tag, START)] == ["1.92", "1.117", "1.163"]
