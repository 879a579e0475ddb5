"""The judge of the soak: a soak that finds nothing proves something only where it would have found it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from bench.judging import Beat, Run, beats, late, overlaps, read_run

START = datetime(2026, 1, 2, 3, 0, tzinfo=UTC)


def run(begin: float, end: float | None, rule: str = "app", cause: str = "schedule") -> Run:
    finished = START + timedelta(seconds=end) if end is not None else None
    return Run(f"{begin:06.1f}-{rule}", rule, cause, "ok", START + timedelta(seconds=begin), finished)


@pytest.mark.parametrize(
    ("runs", "found"),
    [
        pytest.param([run(0, 5), run(5, 9), run(10, None)], [], id="one-after-the-other"),
        pytest.param([run(0, 5), run(0, 5, "web")], [], id="of-two-rules"),
        pytest.param([run(0, 5), run(4.9, 9)], [(0, 4.9)], id="begun-before-the-end"),
        pytest.param([run(4.9, 9), run(0, 5)], [(0, 4.9)], id="told-in-another-order"),
        pytest.param([run(0, None), run(100, 101)], [(0, 100)], id="beside-one-that-goes-on"),
        pytest.param([run(0, 50), run(1, 2), run(3, 4)], [(0, 1), (0, 3)], id="two-within-a-long-one"),
        pytest.param([], [], id="none"),
    ],
)
def test_runs_of_a_rule_that_overlap_are_found(runs: list[Run], found: list[tuple[float, float]]) -> None:
    pairs = [((a.started - START).total_seconds(), (b.started - START).total_seconds()) for a, b in overlaps(runs)]

    assert pairs == found


def test_runs_are_counted_by_rule_and_schedule_between_two_moments() -> None:
    runs = [run(-1, 0), run(0, 1), run(5, 6), run(10, 11), run(7, 8, cause="manual"), run(3, 4, "web")]

    found = beats(
        runs,
        {"web": 1},
        ["app", "web", "lost"],
        begin=START,
        end=START + timedelta(seconds=10),
        every=timedelta(seconds=5),
    )

    assert found == [Beat("app", 2, 2, 0), Beat("web", 2, 1, 1), Beat("lost", 2, 0, 0)]
    assert [beat.missed for beat in found] == [0, 0, 2]


@pytest.mark.parametrize(
    ("ran", "skipped", "is_late"),
    [(100, 0, False), (60, 40, False), (95, 0, False), (94, 0, True), (0, 0, True)],
)
def test_rule_is_late_that_missed_more_than_one_in_twenty_moments(ran: int, skipped: int, is_late: bool) -> None:
    assert late(Beat("app", 100, ran, skipped)) is is_late


def test_two_moments_at_the_edges_are_no_fault() -> None:
    assert not late(Beat("app", 10, 8, 0))


def test_run_is_read_from_the_json_of_the_api() -> None:
    value = {
        "id": "1",
        "rule": "app",
        "cause": "schedule",
        "result": "running",
        "started": "2026-01-02T03:00:00.500Z",
        "finished": None,
    }

    assert read_run(value) == Run("1", "app", "schedule", "running", START + timedelta(seconds=0.5), None)
    assert read_run({**value, "finished": "2026-01-02T03:00:01Z"}).finished == START + timedelta(seconds=1)
