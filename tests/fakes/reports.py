"""Reports of runs that did not happen: one rule, `nginx`, from Docker Hub to a registry within."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from mirrord.oci.digest import Digest
from mirrord.oci.reference import Repository, Tag
from mirrord.planning.report import (
    BlobTally,
    Outcome,
    Problem,
    RuleReport,
    RunReport,
    TrafficReport,
    UnitResult,
)

SOURCE = Repository("docker.io", "library/nginx")
TARGET = Repository("registry.internal:5000", "mirror/nginx")
DIGEST = Digest.of(b"image")
START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
UNREACHABLE = Problem(code="UNAVAILABLE", message="docker.io does not answer", remedy="try later")
MISSING = Problem(code="NOT_FOUND", message="docker.io/library/nginx:nope does not exist", remedy="check the name")


def result(
    outcome: Outcome,
    *tags: str,
    reason: str = "",
    problem: Problem | None = None,
    blobs: BlobTally | None = None,
    digest: Digest | None = DIGEST,
    seconds: float = 0.0,
) -> UnitResult:
    """Return how one image stands on the target."""
    return UnitResult(
        rule="nginx",
        source=SOURCE,
        target=TARGET,
        tags=tuple((Tag.parse(tag), Tag.parse(tag)) for tag in tags),
        outcome=outcome,
        reason=reason,
        problem=problem,
        digest=digest,
        served=digest,
        blobs=blobs or BlobTally(),
        seconds=seconds,
    )


def rule(*results: UnitResult, filtered: int = 0, **fields: object) -> RuleReport:
    """Return the report of the rule."""
    listed = filtered + sum(len(one.tags) for one in results)
    return RuleReport(rule="nginx", listed=listed, filtered=filtered, results=results, **fields)  # type: ignore[arg-type] # warnings, problems


def report(*rules: RuleReport, seconds: float = 2.0, interrupted: bool = False, **fields: object) -> RunReport:
    """Return the report of a run that took two seconds."""
    return RunReport(
        started=START,
        finished=START + timedelta(seconds=seconds),
        dry_run=False,
        rules=rules,
        interrupted=interrupted,
        traffic=TrafficReport(requests={"docker.io": 3, "registry.internal:5000": 4}, **fields),  # type: ignore[arg-type] # bytes, retries
    )
