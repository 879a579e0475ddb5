from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from mirrord.cli.grouping import INTERRUPTED
from mirrord.cli.runjson import run_json
from mirrord.cli.runreport import run_lines
from mirrord.cli.verdict import plan_exit_code, run_exit_code
from mirrord.planning.report import BlobTally, Outcome, Problem, RuleReport, RunReport
from tests.fakes.reports import DIGEST, MISSING, UNREACHABLE, report, result, rule

DOCUMENTATION = Path(__file__).parents[3] / "docs" / "reference" / "output.md"


def text(run: RunReport) -> str:
    return "\n".join(line.plain for line in run_lines(run))


def test_a_run_with_nothing_to_do_says_so_in_one_sentence() -> None:
    shown = text(report(rule(result(Outcome.IN_SYNC, "1.27", "latest"))))

    assert shown.splitlines() == [
        "nginx  2 in sync",
        "",
        "nothing to do: all 2 images are in sync; 7 requests in 2.0 s",
    ]


def test_a_run_tells_what_was_moved_and_what_was_saved() -> None:
    blobs = BlobTally(uploaded=(3, 4 * 1024 * 1024), mounted=(1, 1024), existed=(2, 1024))

    shown = text(report(rule(result(Outcome.COPIED, "1.27", blobs=blobs), filtered=5), retries=1))

    assert shown.splitlines() == [
        "nginx  1 copied, 5 filtered out",
        "",
        "1 image: 1 copied",
        "blobs: 3 uploaded (4.0 MiB), 1 mounted (1.0 KiB), 2 existed already (1.0 KiB); 2.0 KiB saved",
        "read once for several targets: 0 B read, 4.0 MiB written",
        "7 requests in 2.0 s, 1 retry, 2.0 MiB/s",
    ]


def test_a_failed_image_is_told_with_its_place_its_error_and_the_remedy() -> None:
    shown = text(report(rule(result(Outcome.FAILED, "1.27", problem=MISSING))))

    assert "Failed\n  docker.io/library/nginx:1.27 -> registry.internal:5000/mirror/nginx\n" in shown
    assert "    NOT_FOUND: docker.io/library/nginx:nope does not exist\n    remedy: check the name\n" in shown


def test_images_that_failed_alike_are_told_together() -> None:
    problems = [Problem(code="UNAVAILABLE", message=f"no answer to {number}", remedy="") for number in range(6)]
    failures = [result(Outcome.FAILED, f"1.{i}", problem=problem) for i, problem in enumerate(problems)]

    shown = text(report(rule(*failures)))

    assert "docker.io/library/nginx:1.0, 1.1, 1.2 and 3 more -> registry.internal:5000/mirror/nginx" in shown
    assert shown.count("UNAVAILABLE") == 1
    assert "and 5 similar errors" in shown


def test_text_that_looks_like_markup_is_printed_as_it_stands() -> None:
    problem = Problem(code="NOT_FOUND", message="no [bold]such[/bold] thing [sha256:ab]", remedy="")

    assert "no [bold]such[/bold] thing [sha256:ab]" in text(report(rule(result(Outcome.FAILED, "1", problem=problem))))


def test_a_rule_that_could_not_look_is_told_with_its_problem() -> None:
    shown = text(report(rule(problems=(UNREACHABLE,))))

    assert shown.startswith("nginx  1 problem\n")
    assert "  rule nginx\n    UNAVAILABLE: docker.io does not answer\n    remedy: try later" in shown


def test_warnings_name_their_rule() -> None:
    shown = text(report(rule(warnings=("the tag filters take none of its 3 tags",))))

    assert "Warnings\n  rule nginx: the tag filters take none of its 3 tags" in shown


def test_an_interrupted_run_counts_what_is_left_without_listing_it() -> None:
    left = result(Outcome.SKIPPED, "1.27", "1.28", reason=INTERRUPTED)

    shown = text(report(rule(result(Outcome.COPIED, "1.26"), left), interrupted=True))

    assert "interrupted: 2 images not attempted or not finished" in shown
    assert "Skipped" not in shown


def test_the_json_of_a_run_has_stable_keys_and_adds_up() -> None:
    results = [
        result(Outcome.COPIED, "1", blobs=BlobTally(uploaded=(1, 10))),
        result(Outcome.IN_SYNC, "2", "3"),
        result(Outcome.SKIPPED, "4"),
        result(Outcome.BLOCKED, "5", problem=Problem(code="TAG_IMMUTABLE", message="m")),
        result(Outcome.FAILED, "6", problem=MISSING, digest=None),
    ]

    told = json.loads(json.dumps(run_json(report(rule(*results, filtered=2)), 1)))

    assert list(told) == [
        "kind",
        "started",
        "finished",
        "seconds",
        "interrupted",
        "exit_code",
        "totals",
        "blobs",
        "traffic",
        "rules",
    ]
    assert told["started"] == "2026-01-02T03:04:05.000Z"
    totals = told["totals"]
    assert totals == {
        "listed": 8,
        "filtered": 2,
        "in_sync": 2,
        "copied": 1,
        "skipped": 1,
        "blocked": 1,
        "failed": 1,
    }
    assert totals.pop("listed") == sum(totals.values())
    assert told["rules"][0]["images"][0] == {
        "rule": "nginx",
        "source": "docker.io/library/nginx",
        "target": "registry.internal:5000/mirror/nginx",
        "tags": [{"source": "1", "target": "1"}],
        "outcome": "copied",
        "reason": "",
        "digest": str(DIGEST),
        "target_digest": str(DIGEST),
        "problem": None,
        "blobs": {
            "uploaded": {"count": 1, "bytes": 10},
            "mounted": {"count": 0, "bytes": 0},
            "existed": {"count": 0, "bytes": 0},
        },
        "referrers": 0,
        "seconds": 0.0,
    }


def test_every_key_of_the_json_is_documented() -> None:
    told = run_json(report(rule(result(Outcome.FAILED, "1", problem=MISSING))), 1)
    documented = set(re.findall(r"`([a-z_]+)(?:\[\])?`", DOCUMENTATION.read_text(encoding="utf-8")))

    assert keys_of(told) <= documented


def keys_of(value: object) -> set[str]:
    if isinstance(value, list):
        return set().union(*(keys_of(item) for item in value))
    if not isinstance(value, dict):
        return set()
    hosts = all("." in key for key in value)
    return (set() if hosts else set(value)).union(*(keys_of(item) for item in value.values()))


@pytest.mark.covers("C47")
@pytest.mark.parametrize(
    ("rules", "code"),
    [
        pytest.param([rule(result(Outcome.IN_SYNC, "1"))], 0, id="in-sync"),
        pytest.param([rule(warnings=("nothing selected",))], 0, id="nothing-selected"),
        pytest.param([rule(result(Outcome.COPIED, "1"), result(Outcome.FAILED, "2", problem=MISSING))], 1, id="one"),
        pytest.param([rule(result(Outcome.BLOCKED, "1"))], 4, id="blocked"),
        pytest.param([rule(result(Outcome.BLOCKED, "1"), result(Outcome.FAILED, "2"))], 1, id="failed-before-blocked"),
        pytest.param([rule(problems=(UNREACHABLE,))], 3, id="the-only-registry-unreachable"),
        pytest.param([rule(result(Outcome.FAILED, "1", problem=UNREACHABLE, digest=None))], 3, id="no-tag-resolved"),
        pytest.param([rule(result(Outcome.FAILED, "1", problem=UNREACHABLE))], 1, id="only-the-target-unreachable"),
        pytest.param([rule(problems=(UNREACHABLE,)), rule(result(Outcome.IN_SYNC, "1"))], 1, id="one-of-two-rules"),
        pytest.param([rule(problems=(MISSING,))], 1, id="the-registry-answered"),
        pytest.param([rule(problems=(UNREACHABLE,)), rule(warnings=("empty",))], 1, id="one-source-was-empty"),
        pytest.param([], 0, id="no-rules"),
    ],
)
def test_the_exit_code_of_a_run_tells_the_truth(rules: list[RuleReport], code: int) -> None:
    assert run_exit_code(rules) == code


@pytest.mark.parametrize(
    ("rules", "changes", "plain", "detailed"),
    [
        pytest.param([rule(result(Outcome.IN_SYNC, "1"))], 0, 0, 0, id="no-change"),
        pytest.param([rule()], 3, 0, 2, id="changes"),
        pytest.param([rule(problems=(MISSING,))], 3, 1, 1, id="error-beside-changes"),
        pytest.param([rule(problems=(UNREACHABLE,))], 0, 3, 1, id="unreachable"),
        pytest.param([rule(result(Outcome.BLOCKED, "1"))], 0, 0, 0, id="blocked-is-told-only"),
    ],
)
def test_the_exit_code_of_a_plan_follows_what_was_asked(
    rules: list[RuleReport], changes: int, plain: int, detailed: int
) -> None:
    assert plan_exit_code(rules, changes, detailed=False) == plain
    assert plan_exit_code(rules, changes, detailed=True) == detailed


def test_a_run_tells_which_registries_listings_were_wrong() -> None:
    warning = (
        "docker.io/library/nginx: the listing of docker.io told something else than the registry itself about 1 tag"
    )
    run = report(rule(result(Outcome.IN_SYNC, "1"), warnings=(warning,)), bulk_differs={"docker.io": 1})

    told = run_json(run, 0)

    assert json.loads(json.dumps(told))["traffic"]["bulk_differs"] == {"docker.io": 1}
    assert f"  rule nginx: {warning}" in text(run).splitlines()
