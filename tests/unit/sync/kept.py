"""Scenes whose runs remember, for tests of what that spares and of what it never hides."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from datetime import timedelta

from mirrord.oci.reference import Location
from mirrord.planning.pattern import TagPattern
from mirrord.planning.rule import OnRollback, Rule
from mirrord.ports.events import Event, GuardRefused, Noted
from mirrord.sync.context import Context
from mirrord.transfer.blob import BlobMover
from mirrord.transfer.executor import Executor
from mirrord.transfer.window import Windows
from tests.fakes.memory import Recorder
from tests.fakes.remembering import RememberingMemory
from tests.unit.sync.scene import Scene

HOUR = 3600.0
DAY = 24 * HOUR


@dataclass
class KeptScene(Scene):
    """Registries in memory, and runs over them that remember what the earlier ones found out."""

    kept: RememberingMemory = field(default_factory=RememberingMemory)

    def context(self) -> Context:
        """Return the outside world of a new run."""
        return replace(super().context(), memory=self.kept)

    def executor(self) -> Executor:
        """Return the other half of a new run."""
        mover = BlobMover(
            slots=self.slots,
            windows=Windows(),
            clock=self.clock,
            events=self.events,
            jitter=random.Random(1),
            memory=self.kept,
        )
        return Executor(mover=mover, clock=self.clock)

    def happened(self, *kinds: type[Event]) -> list[Event]:
        """Return the events of some kinds."""
        assert isinstance(self.events, Recorder)
        return [event for event in self.events.events if isinstance(event, kinds)]

    def refused(self) -> list[str]:
        """Return what guards refused, by reason."""
        return [event.reason for event in self.happened(GuardRefused) if isinstance(event, GuardRefused)]

    def noted(self, what: str) -> list[str]:
        """Return notes of a kind."""
        return [event.text for event in self.happened(Noted) if isinstance(event, Noted) and event.what == what]

    def cost(self, location: Location) -> dict[str, int]:
        """Return how many operations of each kind the last run made at a repository."""
        verbs = [operation.verb for operation in self.memory.log if operation.location == location]
        return {verb: verbs.count(verb) for verb in dict.fromkeys(verbs)}


def immutable(rule: Rule, *patterns: str) -> Rule:
    """Return a rule some of whose tags never move."""
    return replace(rule, policy=replace(rule.policy, immutable_tags=tuple(map(TagPattern.parse, patterns))))


def rechecking(rule: Rule, target: timedelta | None = None, referrers: timedelta | None = None) -> Rule:
    """Return a rule with other intervals."""
    policy = rule.policy if target is None else replace(rule.policy, target_recheck=target)
    attached = rule.referrers if referrers is None else replace(rule.referrers, recheck=referrers)
    return replace(rule, policy=policy, referrers=attached)


def on_rollback(rule: Rule, what: OnRollback) -> Rule:
    """Return a rule that does this about tags which return to an older digest."""
    return replace(rule, policy=replace(rule.policy, on_rollback=what))
