"""A service that stands as a test says."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from mirrord.planning.memory import ImageState
from mirrord.planning.status import (
    Cause,
    ConfigStatus,
    Level,
    QuotaStatus,
    RegistryStatus,
    RuleStatus,
    RunStatus,
    ServiceStatus,
    TargetStatus,
    Verdict,
)
from mirrord.ports.service import Health, ServiceView, Ticket
from tests.unit.telemetry.told import MOMENT


@dataclass
class FakeView(ServiceView):
    """Answers with what it holds."""

    stands: ServiceStatus
    waiting: int = 0
    lag_s: float = 0.0
    asked: int = field(default=0, init=False)

    @property
    def version(self) -> int:
        """Never change."""
        return 1

    def status(self) -> ServiceStatus:
        """Return how everything stands."""
        self.asked += 1
        return self.stands

    def rule(self, name: str) -> RuleStatus | None:
        """Return a rule."""
        return next((rule for rule in self.stands.rules if rule.name == name), None)

    def health(self) -> Health:
        """Be well."""
        return Health(live=(), ready=())

    def wake(self, rule: str, cause: Cause) -> Ticket | None:
        """Do nothing."""
        return None

    @property
    def queue_depth(self) -> int:
        """Return what the test says."""
        return self.waiting

    @property
    def loop_lag_s(self) -> float:
        """Return what the test says."""
        return self.lag_s


def some_view() -> FakeView:
    """Return a service with one rule, two of whose targets are on one host, and a Docker Hub that counts pulls."""
    run = RunStatus(
        id="1",
        rule="app",
        cause=Cause.SCHEDULE,
        started=MOMENT - timedelta(minutes=10),
        finished=MOMENT - timedelta(minutes=9),
    )
    targets = (
        target("a.example/one", "a.example", {ImageState.IN_SYNC: 3, ImageState.FAILED: 1}, 60),
        target("a.example/two", "a.example", {ImageState.IN_SYNC: 2}, 90),
        target("oci:/srv/app", "oci:/srv/app", {ImageState.WAITING: 4}, None),
    )
    rule = RuleStatus(
        name="app",
        source="docker.io/library/app",
        source_host="docker.io",
        targets=targets,
        objective_seconds=3600.0,
        last_run=run,
        last_looked=MOMENT - timedelta(minutes=9),
        last_success=MOMENT - timedelta(hours=1),
        next_run=MOMENT + timedelta(minutes=5),
    )
    registries = (
        RegistryStatus(
            registry="docker.io",
            transfers=2,
            quota=QuotaStatus(registry="docker.io", remaining=76, limit=100, reserve=20),
        ),
        RegistryStatus(registry="a.example", transfers=1, answers=False),
    )
    status = ServiceStatus(
        version="0.1.0",
        now=MOMENT,
        started=MOMENT - timedelta(hours=2),
        verdict=Verdict(level=Level.OK, headline="fine"),
        config=ConfigStatus(file="m.yaml", loaded_at=MOMENT - timedelta(hours=2), rules=1, error="m.yaml:1:1: no"),
        rules=(rule,),
        registries=registries,
    )
    return FakeView(status, waiting=7, lag_s=0.25)


def target(name: str, host: str, images: dict[ImageState, int], behind_s: float | None) -> TargetStatus:
    """Return a target that is behind for so many seconds."""
    since = MOMENT - timedelta(seconds=behind_s) if behind_s is not None else None
    return TargetStatus(target=name, host=host, images=images, behind_since=since)
