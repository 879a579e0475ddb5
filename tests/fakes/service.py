"""A service that stands as a test says, for what is served over HTTP."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from mirrord.planning.status import Cause, RuleStatus, ServiceStatus
from mirrord.ports.service import Check, Health, ServiceView, Ticket
from tests.fakes.pagescenes import fresh_scene

WELL = Check(name="state", ok=True, detail="can be read and written")


@dataclass
class FakeView(ServiceView):
    """Tells ``current``, and counts how often it was asked. ``woken`` are the rules that were asked to run."""

    current: ServiceStatus = field(default_factory=lambda: fresh_scene().status)
    checks: Health = field(default_factory=lambda: Health(live=(WELL,), ready=(WELL,)))
    woken: list[str] = field(default_factory=list)
    asked: int = 0
    changes: int = 1

    @property
    def version(self) -> int:
        return self.changes

    @property
    def queue_depth(self) -> int:
        return 0

    @property
    def loop_lag_s(self) -> float:
        return 0.0

    def status(self) -> ServiceStatus:
        self.asked += 1
        return self.current

    def rule(self, name: str) -> RuleStatus | None:
        return next((rule for rule in self.current.rules if rule.name == name), None)

    def health(self) -> Health:
        return self.checks

    def wake(self, rule: str, cause: Cause) -> Ticket | None:
        if self.rule(rule) is None or self.current.draining:
            return None
        already = rule in self.woken
        self.woken.append(rule)
        return Ticket(rule=rule, run="20260305T134410-1", already=already)

    def change(self, name: str, **values: object) -> RuleStatus:
        """Have a rule stand otherwise, and count the change."""
        found = self.rule(name)
        assert found is not None
        rule = replace(found, **values)  # type: ignore[arg-type] # a builder names the fields it sets
        self.put(*(rule if old.name == name else old for old in self.current.rules))
        return rule

    def put(self, *rules: RuleStatus, **values: object) -> None:
        """Have these rules, and count the change."""
        self.current = replace(self.current, rules=rules, **values)  # type: ignore[arg-type] # as above
        self.changes += 1
