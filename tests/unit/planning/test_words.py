"""Spans and moments as sentences say them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from mirrord.planning.words import count_text, moment_text, registry_text, shorten, span_text

NOW = datetime(2026, 3, 5, 13, 44, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-3, "0 s"),
        (0.9, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (3599, "59 min"),
        (3600, "1 h"),
        (7800, "2 h 10 min"),
        (86_399, "23 h 59 min"),
        (86_400, "1 d"),
        (273_600, "3 d 4 h"),
    ],
)
def test_span_is_told_in_its_two_largest_units(seconds: float, text: str) -> None:
    assert span_text(seconds) == text


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (datetime(2026, 3, 5, 14, 32, tzinfo=UTC), "14:32 UTC"),
        (datetime(2026, 3, 6, 0, 5, tzinfo=UTC), "6 Mar 00:05 UTC"),
        (datetime(2027, 3, 5, 14, 32, tzinfo=UTC), "5 Mar 2027"),
    ],
    ids=["same-day", "same-year", "other-year"],
)
def test_moment_names_no_more_than_makes_it_clear(moment: datetime, text: str) -> None:
    assert moment_text(moment, NOW) == text


@pytest.mark.parametrize(("count", "text"), [(0, "0 mirrors"), (1, "1 mirror"), (1234, "1,234 mirrors")])
def test_count_stands_with_its_noun(count: int, text: str) -> None:
    assert count_text(count, "mirror") == text


def test_registry_is_called_as_people_call_it() -> None:
    assert registry_text("docker.io") == "Docker Hub"
    assert registry_text("registry.internal:5000") == "registry.internal:5000"


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ("a\n  b\tc", "a b c"),
        ("twelve chars", "twelve chars"),
        ("thirteen char", "thirteen ch…"),
        ("word by word", "word by word"),
    ],
)
def test_long_text_ends_in_an_ellipsis_and_stands_on_one_line(text: str, short: str) -> None:
    assert shorten(text, 12) == short
