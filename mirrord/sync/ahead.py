"""What a plan can say of rules that read what other rules of the same run would write first."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from mirrord.errors import InvalidReferenceError
from mirrord.oci.digest import Digest
from mirrord.oci.reference import Location, Tag
from mirrord.planning.feeds import reads
from mirrord.planning.report import Outcome, UnitResult
from mirrord.planning.rule import Rule
from mirrord.planning.select import name_candidates
from mirrord.sync.prepare import Planned

Arriving = dict[Location, dict[Tag | Digest, str]]
"""What would be written, by place and name, and the rule that would write it."""

_NOT_FOUND = "NOT_FOUND"


class Ahead:
    """Gathers what the rules of a run would write, in the order in which they would."""

    def __init__(self, before: Mapping[str, Collection[str]]) -> None:
        """Begin with nothing; ``before`` says which rules each one waits for."""
        self._before = before
        self._writes: dict[str, dict[Location, set[Tag | Digest]]] = {}

    def arriving(self, rule: Rule) -> Arriving:
        """Return what would be written where ``rule`` reads before it begins; those it waits for are added already."""
        found: Arriving = defaultdict(dict)
        for name in sorted(self._before[rule.name]):
            for location, names in self._writes[name].items():
                if reads(rule, location):
                    found[location] |= dict.fromkeys(names, name)
        return dict(found)

    def add(self, rule: Rule, planned: Sequence[Planned], arriving: Arriving) -> None:
        """Add what ``rule`` would write: what is planned, and what it would make of what arrives where it reads."""
        writes = self._writes[rule.name] = defaultdict(set)
        for plan, late in ((one.plan, one.late) for one in planned):
            for target in plan.targets:
                if target.changes or target.target in late:
                    writes[target.target] |= {tag.target_tag for tag in target.changes if tag.target_tag is not None}
                    writes[target.target].add(plan.wanted.digest)
        for source, names in arriving.items():
            for location, name in _passed_on(rule, source, names):
                writes[location].add(name)


def _passed_on(
    rule: Rule, source: Location, names: Collection[Tag | Digest]
) -> Iterator[tuple[Location, Tag | Digest]]:
    """Yield where a rule would write what it takes of ``names`` at ``source``."""
    for template in rule.targets:
        for name in _taken(rule, names):
            try:
                if isinstance(name, Digest):
                    yield template.location(source), name
                elif (tag := template.tag(name, source)) is not None:
                    yield template.location(source), tag
            except InvalidReferenceError:
                continue  # told when it comes to pass


def _taken(rule: Rule, names: Collection[Tag | Digest]) -> Sequence[Tag | Digest]:
    named = rule.source.digest or rule.source.tag
    if named is not None:
        return [named] if named in names else []
    return name_candidates(rule.tags, (name for name in names if isinstance(name, Tag)))


def why_open(arriving: Arriving) -> list[str]:
    """Return the warning for a rule whose part of a plan may turn out otherwise."""
    writers = sorted({writer for names in arriving.values() for writer in names.values()})
    if not writers:
        return []
    shown = ", ".join(f'"{writer}"' for writer in writers)
    now = "this part of the plan shows its source as it is now, and may turn out otherwise"
    return [f"it reads what would be written before it by {shown}: {now}"]


def to_come(result: UnitResult, rule: Rule, arriving: Arriving) -> UnitResult:
    """Return a result as it is, or as skipped where the image is missing only since no rule has written it yet."""
    if result.problem is None or result.problem.code != _NOT_FOUND:
        return result
    names = arriving.get(result.source, {})
    name = rule.source.digest or result.tags[0][0]
    writer = names.get(name) if name is not None else None
    if writer is None:
        return result
    return replace(result, outcome=Outcome.SKIPPED, reason=f'rule "{writer}" would write it first', problem=None)
