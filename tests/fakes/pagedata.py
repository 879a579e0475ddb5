"""Builds services as the status page shows them, of values of `mirrord.planning.status`, at one fixed moment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256

from mirrord.planning.memory import ImageState
from mirrord.planning.rulestate import freshness_seconds, is_fresh, rule_state
from mirrord.planning.status import (
    BlobCount,
    BlobCounts,
    Cause,
    Change,
    ConfigStatus,
    ImageStatus,
    ProblemStatus,
    Progress,
    QuotaStatus,
    RegistryStatus,
    RuleState,
    RuleStatus,
    RunResult,
    RunStatus,
    Saved,
    ServiceStatus,
    TargetStatus,
    TransferStatus,
)
from mirrord.planning.verdict import judge

NOW = datetime(2026, 3, 5, 13, 44, 10, tzinfo=UTC)
INTERNAL = "registry.internal:5000"
ECR = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
GOOGLE = "europe-docker.pkg.dev"
GIB = 1024**3
MIB = 1024**2
HOUR = 3600.0


def ago(**span: float) -> datetime:
    return NOW - timedelta(**span)


def ahead(**span: float) -> datetime:
    return NOW + timedelta(**span)


def digest(seed: str) -> str:
    return f"sha256:{sha256(seed.encode()).hexdigest()}"


def make_rule(
    name: str,
    source: str,
    images: Mapping[str, Mapping[ImageState, int]],
    *,
    behind: timedelta | None = None,
    objective: float | None = HOUR,
    looked: datetime | None = None,
    is_blind: bool = False,
    **values: object,
) -> RuleStatus:
    """Build a rule with what follows from its images: state, counts, freshness.

    Args:
        name: the rule's.
        source: what it reads; without a host it is on Docker Hub.
        images: counts by state, by target.
        behind: the age of the oldest change that is not served, on every target with images that are not in sync.
        objective: the promise in seconds.
        looked: when its source was last seen; None: 12 minutes ago.
        is_blind: whether the last run could not see it.
        values: any further fields of the rule.
    """
    behind_since = NOW - behind if behind is not None else None
    targets = tuple(
        TargetStatus(
            target=target,
            host=target.split("/")[0],
            images=dict(counts),
            behind_since=behind_since if set(counts) - {ImageState.IN_SYNC} else None,
        )
        for target, counts in images.items()
    )
    summed: dict[ImageState, int] = {}
    for counts in images.values():
        for state, count in counts.items():
            summed[state] = summed.get(state, 0) + count
    last_looked = looked or ago(minutes=12)
    found = rule_state(summed, has_looked=True, is_blind=is_blind)
    base = RuleStatus(
        name=name,
        source=source,
        source_host=source.split("/", maxsplit=1)[0],
        targets=targets,
        state=found,
        schedule="every 15m",
        images=summed,
        behind_since=behind_since,
        freshness_seconds=freshness_seconds(behind_since, NOW),
        objective_seconds=objective,
        is_fresh=is_fresh(
            found,
            behind_since=behind_since,
            objective_seconds=objective,
            last_looked=last_looked,
            is_blind=is_blind,
            now=NOW,
        ),
        last_run=make_run(name, 0),
        last_looked=last_looked,
        last_success=last_looked if found is RuleState.IN_SYNC else ago(hours=3, minutes=20),
        next_run=ahead(minutes=16),
    )
    return replace(base, **values)  # type: ignore[arg-type] # a builder names the fields it sets


def in_sync(name: str, repository: str = "", count: int = 18, targets: Sequence[str] = (INTERNAL, ECR)) -> RuleStatus:
    """Build a rule that is all well."""
    path = repository or f"docker.io/library/{name}"
    return make_rule(name, path, {f"{host}/mirror/{name}": {ImageState.IN_SYNC: count} for host in targets})


def make_run(rule: str, back: int, **values: object) -> RunStatus:
    """Build a run that ended well; ``back`` counts hours into the past."""
    started = ago(hours=back, minutes=12)
    base = RunStatus(
        id=f"{started:%Y%m%dT%H%M%S}-{rule}",
        rule=rule,
        cause=Cause.SCHEDULE,
        started=started,
        finished=started + timedelta(seconds=12.4),
        result=RunResult.OK,
        listed=412,
        filtered=370,
        outcomes={"in_sync": 42},
        requests={"docker.io": 3, INTERNAL: 2},
        pulls={"docker.io": 0},
    )
    return replace(base, **values)  # type: ignore[arg-type] # a builder names the fields it sets


QUOTA_SPENT = ProblemStatus(
    code="QUOTA_RESERVED",
    message=(
        "docker.io: 12 of 200 pulls in 6 h are left, all of them within the reserve of 20;"
        " there will be more by 2026-03-05 14:32 UTC"
    ),
    remedy=(
        'run again after 2026-03-05 14:32 UTC, log in for a larger quota, or lower registries."docker.io".quota.reserve'
    ),
    at=ago(hours=2, minutes=20),
)


def waiting_for_quota() -> RuleStatus:
    """Build the rule whose promise is broken because Docker Hub's pulls are spent."""
    counts = {ImageState.IN_SYNC: 38, ImageState.WAITING: 4}
    return make_rule(
        "python",
        "docker.io/library/python",
        {f"{INTERNAL}/mirror/python": counts, f"{ECR}/mirror/python": counts},
        behind=timedelta(hours=3, minutes=10),
        problem=QUOTA_SPENT,
        waiting_until=datetime(2026, 3, 5, 14, 32, tzinfo=UTC),
        next_run=datetime(2026, 3, 5, 14, 32, tzinfo=UTC),
        last_run=quota_runs()[0],
    )


def quota_runs() -> list[RunStatus]:
    """Return runs that kept the promise for long, and then no more."""
    late = [
        make_run(
            "python",
            back,
            result=RunResult.FAILED,
            outcomes={"in_sync": 76, "skipped": 8},
            lag_seconds=HOUR * (3 - back),
            problems=(QUOTA_SPENT,),
            pulls={"docker.io": 5},
        )
        for back in range(3)
    ]
    lags = [0, 0, 240, 0, 0, 900, 0, 60, 0, 0, 0, 1500, 0, 0, 0, 120, 0, 0, 0, 0, 2400, 0, 0, 0, 300, 0, 0, 0, 0, 0, 0]
    usual = [
        make_run(
            "python",
            back + 3,
            lag_seconds=float(lag),
            outcomes={"in_sync": 80, "copied": 4} if lag else {"in_sync": 84},
            blobs=BlobCounts(
                uploaded=BlobCount(count=7, bytes=412 * MIB),
                mounted=BlobCount(count=11, bytes=890 * MIB),
                existed=BlobCount(count=60, bytes=6 * GIB),
            )
            if lag
            else BlobCounts(),
            changes=(changed("3.13-slim"), changed("3.12-alpine")) if lag else (),
        )
        for back, lag in enumerate(lags)
    ]
    return [*late, *usual]


def changed(tag: str) -> Change:
    return Change(
        source="docker.io/library/python",
        target=f"{INTERNAL}/mirror/python",
        tags=(tag,),
        outcome="copied",
        digest=digest(tag),
        before=digest(f"{tag} before"),
        seconds=4.2,
        uploaded_bytes=206 * MIB,
    )


def python_images() -> list[ImageStatus]:
    late = {"3.13-slim": "a", "3.13-slim-bookworm": "a", "3.12-alpine": "b", "3.14.0rc2-slim-bookworm": "c"}
    found = []
    for number, tag in enumerate([*late, *[f"3.{minor}.{patch}" for minor in range(9, 14) for patch in range(8)][:38]]):
        for host in (INTERNAL, ECR):
            is_late = tag in late
            found.append(
                ImageStatus(
                    rule="python",
                    source="docker.io/library/python",
                    tag=tag,
                    target=f"{host}/mirror/python",
                    target_tag=tag,
                    state=ImageState.WAITING if is_late else ImageState.IN_SYNC,
                    reason="Docker Hub's quota of pulls" if is_late else "",
                    digest=digest(late.get(tag, tag)),
                    served=digest(f"{tag} before" if is_late else tag),
                    first_seen=ago(hours=3, minutes=10),
                    behind_since=ago(hours=3, minutes=10 - number) if is_late else None,
                    proven_at=ago(minutes=12),
                )
            )
    return found


def copying() -> RuleStatus:
    """Build a rule whose run is going on."""
    files = (
        ("acme/api:2.31.0", 1945 * MIB, 1228 * MIB, 96 * MIB),
        ("acme/worker:2.31.0", 402 * MIB, 310 * MIB, 71 * MIB),
        ("acme/ml:2026.11", 6144 * MIB, 312 * MIB, 47 * MIB),
    )
    moved = tuple(
        TransferStatus(
            digest=digest(name),
            source=f"ghcr.io/{name}",
            targets=(GOOGLE,),
            size=size,
            done=done,
            rate=float(rate),
            eta_seconds=(size - done) / rate,
        )
        for name, size, done, rate in files
    )
    running = Progress(
        run="20260305T134200-team-images",
        started=ago(minutes=2),
        looked_at=1204,
        total=8,
        done=5,
        read_bytes=5 * GIB,
        rate=214.0 * MIB,
        share=0.62,
        eta_seconds=124.0,
        blobs=BlobCounts(
            uploaded=BlobCount(count=14, bytes=3174 * MIB),
            mounted=BlobCount(count=61, bytes=9011 * MIB),
            existed=BlobCount(count=212, bytes=19 * GIB),
        ),
        transfers=moved,
    )
    return make_rule(
        "team-images",
        "ghcr.io/acme/*",
        {f"{GOOGLE}/acme-prod/mirror": {ImageState.IN_SYNC: 1201, ImageState.COPYING: 3}},
        behind=timedelta(minutes=4),
        objective=1800.0,
        running=running,
    )


def failed() -> RuleStatus:
    """Build a rule that cannot see its source and made no promise."""
    return make_rule(
        "base-images",
        "registry.partner.example/base/**",
        {f"{INTERNAL}/partner": {ImageState.IN_SYNC: 61, ImageState.FAILED: 3}},
        objective=None,
        is_blind=True,
        looked=ago(days=2, hours=3),
        problem=ProblemStatus(
            code="AUTH_REJECTED",
            message="registry.partner.example: the token service did not accept the credential of mirror-bot (401)",
            remedy="check the registry's credential with `mirrord auth check`",
            at=ago(minutes=12),
        ),
        last_run=make_run("base-images", 0, result=RunResult.FAILED, outcomes={}, problems=()),
        warnings=('the filter "9.*" takes no tag of registry.partner.example/base/alpine',),
    )


def make_status(rules: Sequence[RuleStatus], **values: object) -> ServiceStatus:
    """Build a service with these rules; its verdict is found as the service itself does."""
    config = ConfigStatus(
        file="/etc/mirrord/config.yaml", loaded_at=datetime(2026, 3, 5, 8, 12, tzinfo=UTC), rules=len(rules)
    )
    quota = QuotaStatus(
        registry="docker.io",
        remaining=12,
        limit=200,
        window_seconds=21600,
        reserve=20,
        told_at=ago(minutes=2),
        refills_at=datetime(2026, 3, 5, 14, 32, tzinfo=UTC),
    )
    has_quota = any(rule.waiting_until for rule in rules)
    base = ServiceStatus(
        version="1.0.0",
        now=NOW,
        started=ago(days=41, hours=3),
        verdict=judge(rules, config=config, state_error=None, now=NOW),
        config=config,
        rules=tuple(rules),
        registries=(
            RegistryStatus(registry="docker.io", quota=quota if has_quota else replace(quota, remaining=181)),
            RegistryStatus(registry="ghcr.io", transfers=3),
            RegistryStatus(registry=INTERNAL, transfers=3),
            RegistryStatus(registry=ECR),
            RegistryStatus(registry=GOOGLE),
        ),
        saved=Saved(
            since=ago(days=7),
            wanted_bytes=2355 * GIB,
            uploaded_bytes=410 * GIB,
            saved_bytes=1945 * GIB,
            fanout_bytes=188 * GIB,
        ),
        rate=sum(rule.running.rate for rule in rules if rule.running is not None),
    )
    changed_status = replace(base, **values)  # type: ignore[arg-type] # a builder names the fields it sets
    found = judge(
        changed_status.rules,
        config=changed_status.config,
        state_error=changed_status.state_error,
        now=NOW,
        draining=changed_status.draining,
    )
    return replace(changed_status, verdict=found)
