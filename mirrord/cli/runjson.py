"""Runs as JSON; the keys are documented in docs/reference/output.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from mirrord.cli.quotas import pulls_json
from mirrord.oci.reference import Tag
from mirrord.planning.report import BlobTally, Outcome, Problem, RuleReport, RunReport, UnitResult

Json = dict[str, object]


def run_json(report: RunReport, exit_code: int) -> Json:
    """Return a whole run."""
    return {
        **summary_json(report, exit_code),
        "rules": [
            {**rule_json(rule), "images": [result_json(result) for result in in_order(rule.results)]}
            for rule in report.rules
        ],
    }


def summary_json(report: RunReport, exit_code: int) -> Json:
    """Return a run without its images."""
    traffic = report.traffic
    return {
        "kind": "run",
        "started": moment_json(report.started),
        "finished": moment_json(report.finished),
        "seconds": round((report.finished - report.started).total_seconds(), 3),
        "interrupted": report.interrupted,
        "exit_code": exit_code,
        "totals": totals_json(report.rules),
        "blobs": tally_json(report.blobs),
        "traffic": {
            "requests": dict(sorted(traffic.requests.items())),
            "bytes_read": dict(sorted(traffic.bytes_read.items())),
            "bytes_written": dict(sorted(traffic.bytes_written.items())),
            "retries": traffic.retries,
            "pulls": pulls_json(traffic, "spent"),
            "bulk_differs": dict(sorted(traffic.bulk_differs.items())),
        },
        "rules": [rule_json(rule) for rule in report.rules],
    }


def rule_json(rule: RuleReport) -> Json:
    """Return one rule without its images."""
    return {
        "rule": rule.rule,
        "totals": totals_json([rule]),
        "problems": [problem_json(problem) for problem in rule.problems],
        "warnings": list(rule.warnings),
    }


def result_json(result: UnitResult) -> Json:
    """Return how one image stands on one target."""
    return {
        "rule": result.rule,
        "source": str(result.source),
        "target": str(result.target),
        "tags": tags_json(result.tags),
        "outcome": result.outcome.key,
        "reason": result.reason,
        "digest": str(result.digest) if result.digest is not None else None,
        "target_digest": str(result.served) if result.served is not None else None,
        "problem": problem_json(result.problem) if result.problem is not None else None,
        "blobs": tally_json(result.blobs),
        "referrers": result.referrers,
        "seconds": round(result.seconds, 3),
    }


def totals_json(rules: Sequence[RuleReport]) -> Json:
    """Return the counts of rules: ``listed`` is the sum of all the others. An image counts once a tag and target."""
    return {
        "listed": sum(rule.listed for rule in rules),
        "filtered": sum(rule.filtered for rule in rules),
        **{outcome.key: sum(rule.count(outcome) for rule in rules) for outcome in Outcome},
    }


def tags_json(tags: Sequence[tuple[Tag | None, Tag | None]]) -> list[Json]:
    """Return pairs of a source's and a target's tag; null stands for an image without one."""
    return [
        {
            "source": str(source) if source is not None else None,
            "target": str(target) if target is not None else None,
        }
        for source, target in tags
    ]


def tally_json(tally: BlobTally) -> Json:
    """Return blobs by outcome."""
    return {
        name: pair_json(pair)
        for name, pair in (("uploaded", tally.uploaded), ("mounted", tally.mounted), ("existed", tally.existed))
    }


def pair_json(pair: tuple[int, int]) -> Json:
    """Return a count of blobs and their bytes."""
    return {"count": pair[0], "bytes": pair[1]}


def problem_json(problem: Problem) -> Mapping[str, object]:
    """Return why something did not work."""
    return {"code": problem.code, "message": problem.message, "remedy": problem.remedy}


def moment_json(moment: datetime) -> str:
    """Return an instant in UTC, to the millisecond: ``2026-01-02T03:04:05.678Z``."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def in_order(results: Sequence[UnitResult]) -> list[UnitResult]:
    """Return results by place and name, whatever the order in which they came."""
    return sorted(results, key=lambda result: (str(result.source), tag_names(result.tags), str(result.target)))


def tag_names(tags: Sequence[tuple[Tag | None, Tag | None]]) -> list[str]:
    """Return the names of the source's tags, to sort by."""
    return [str(source or "") for source, _ in tags]
