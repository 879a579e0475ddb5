"""Hints to wait, backoff and the retry budget."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from mirrord.registry.retry import (
    LONGEST_HINT_S,
    RETRYABLE_STATUS,
    Backoff,
    RetryBudget,
    is_replayable,
    retry_after_s,
)

NOW = datetime(2025, 11, 24, 12, 0, 0, tzinfo=UTC)
UNIX = int(NOW.timestamp())

HINTS: list[tuple[str, dict[str, str], str, float | None]] = [
    ("none", {}, "", None),
    ("seconds", {"Retry-After": "2"}, "", 2),
    ("fraction", {"retry-after": " 1.5 "}, "", 1.5),
    ("zero", {"retry-after": "0"}, "", 0),
    ("D29:ten-to-the-nine", {"retry-after": "1000000000"}, "", LONGEST_HINT_S),
    ("E64:forty-digits", {"retry-after": "9" * 40}, "", LONGEST_HINT_S),
    ("E64:unix-time", {"retry-after": str(UNIX + 30)}, "", 30),
    ("D29:unix-time-past", {"retry-after": str(UNIX - 30)}, "", 0),
    ("D29:http-date", {"retry-after": "Mon, 24 Nov 2025 12:01:00 GMT"}, "", 60),
    ("D29:date-past", {"retry-after": "Mon, 24 Nov 2025 11:01:00 GMT"}, "", 0),
    ("date-without-zone", {"retry-after": "Mon, 24 Nov 2025 12:00:30 -0000"}, "", 30),
    ("E64:year-9999", {"retry-after": "Fri, 31 Dec 9999 23:59:59 GMT"}, "", LONGEST_HINT_S),
    ("no-such-day", {"retry-after": "Mon, 32 Nov 2025 23:59:59 GMT"}, "", None),
    ("E64:negative", {"retry-after": "-1"}, "", None),
    ("E64:text", {"retry-after": "soon"}, "", None),
    ("empty", {"retry-after": ""}, "", None),
    ("docker-hub", {"X-Retry-After": str(UNIX + 45)}, "", 45),
    ("nonsense-then-good", {"retry-after": "soon", "x-retry-after": "7"}, "", 7),
    ("header-before-text", {"retry-after": "7"}, "retry-after: 2s", 7),
    ("ghcr-micro", {}, "too many requests, retry-after: 880.092\u00b5s, allowed: 44000/minute", 0.000880092),
    ("ghcr-greek-mu", {}, "retry-after: 880.092\u03bcs", 0.000880092),
    ("ghcr-milli", {}, "toomanyrequests: retry-after: 1.16676ms", 0.00116676),
    ("go-compound", {}, "Retry-After=1m30s", 90),
    ("go-hours", {}, "retry after 2h", LONGEST_HINT_S),
    ("nano", {}, '"retry_after": 5ns', 5e-9),
    ("google-retry-info", {}, '{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "36s"}', 36),
    ("google-fraction", {}, '"retryDelay":"1.5s"', 1.5),
    ("ghcr-secondary", {}, "You have exceeded a secondary rate limit. Please wait a few minutes.", 60),
    ("github-primary", {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(UNIX + 50)}, "API rate limit", 50),
    ("github-some-left", {"X-RateLimit-Remaining": "9", "X-RateLimit-Reset": str(UNIX + 50)}, "", None),
    ("text-without-unit", {}, "retry-after: soon", None),
]


@pytest.mark.parametrize(("headers", "text", "expected"), [case[1:] for case in HINTS], ids=[case[0] for case in HINTS])
def test_retry_after_understands_all_forms(headers: dict[str, str], text: str, expected: float | None) -> None:
    assert retry_after_s(headers, text, NOW) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("method", "sent", "body_replayable", "expected"),
    [
        ("GET", True, True, True),
        ("put", True, True, True),
        ("POST", True, True, True),
        ("PATCH", True, True, False),
        ("PATCH", False, True, True),
        ("PUT", True, False, False),
        ("PUT", False, False, False),
    ],
)
def test_is_replayable_never_repeats_a_patch_or_a_used_up_body(
    method: str, sent: bool, body_replayable: bool, expected: bool
) -> None:
    assert is_replayable(method, sent=sent, body_replayable=body_replayable) is expected


def test_retryable_statuses_leave_final_answers_out() -> None:
    assert {408, 429, 499, 500, 502, 503, 504, 522} <= RETRYABLE_STATUS
    assert RETRYABLE_STATUS.isdisjoint({400, 401, 403, 404, 405, 413, 501, 505, 507})


@pytest.mark.covers("D30")
def test_backoff_doubles_up_to_its_cap() -> None:
    backoff = Backoff(lambda: 1.0, base_s=0.5, cap_s=30)

    assert [backoff.next_s() for _ in range(9)] == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]


def test_backoff_has_full_jitter_and_adds_what_was_asked() -> None:
    backoff = Backoff(iter([0.0, 0.5]).__next__, base_s=2)

    assert [backoff.next_s(), backoff.next_s(asked_s=10)] == [0.0, 12.0]


@pytest.mark.covers("C41")
def test_retry_budget_lets_small_runs_retry_three_times_a_second() -> None:
    budget = RetryBudget()

    assert [budget.allows_retry(0.1 * n) for n in range(5)] == [True, True, True, False, False]
    assert budget.allows_retry(1.0)


@pytest.mark.covers("C41")
def test_retry_budget_is_a_tenth_of_the_requests_of_a_minute() -> None:
    budget = RetryBudget()
    for _ in range(100):
        budget.request(5.0)

    assert sum(budget.allows_retry(6.0) for _ in range(50)) == 10
    assert not budget.allows_retry(6.9)


def test_retry_budget_forgets_after_a_minute_and_stays_small() -> None:
    budget = RetryBudget(free_per_s=0)
    for second in range(600):
        budget.request(float(second))

    assert [budget.allows_retry(600.0) for _ in range(7)].count(True) == 6
    assert not RetryBudget(free_per_s=0).allows_retry(0.0)
    assert len(budget._requests) <= 60
