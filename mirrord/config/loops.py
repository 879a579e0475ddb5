"""Rules that feed themselves, at once or through others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from mirrord.config.finding import Finding
from mirrord.config.flows import Flow
from mirrord.config.rules import ReadRule
from mirrord.errors import InvalidReferenceError
from mirrord.oci.reference import Location
from mirrord.planning.feeds import reads, sample_sources
from mirrord.planning.tagsets import Meeting, TagSet, meeting


def find_loops(rules: Sequence[ReadRule], flows: Sequence[Flow]) -> Iterator[Finding]:
    """Yield one finding for each circle of rules in which each surely reads what the one before it writes."""
    walk = _Walk(rules, flows)
    told: set[frozenset[int]] = set()
    for rule in rules:
        for location in sample_sources(rule.rule.source):
            for circle in walk.circles(_Stop(rule, location)):
                members = frozenset(flow.rule.index for flow in circle)
                if members not in told:
                    told.add(members)
                    yield _finding(circle)


class _Stop(NamedTuple):
    """A rule that reads one location: where the walk stands."""

    rule: ReadRule
    location: Location

    @property
    def key(self) -> tuple[int, Location]:
        return (self.rule.index, self.location)


class _Walk:
    """Follows images from rule to rule. Every stop is left once, so that the work grows with the file alone."""

    def __init__(self, rules: Sequence[ReadRule], flows: Sequence[Flow]) -> None:
        self._flows: dict[int, list[Flow]] = defaultdict(list)
        self._exact: dict[Location, list[ReadRule]] = defaultdict(list)
        self._patterns: dict[str, list[ReadRule]] = defaultdict(list)
        self._done: set[tuple[int, Location]] = set()
        for flow in flows:
            self._flows[flow.rule.index].append(flow)
        for rule in rules:
            if rule.rule.source.location is not None:
                self._exact[rule.rule.source.location].append(rule)
            else:
                self._patterns[rule.rule.source.host].append(rule)

    def circles(self, start: _Stop) -> Iterator[list[Flow]]:
        """Yield the circles that a walk from ``start`` closes: the flows from a rule back to it."""
        if start.key in self._done:
            return
        way: list[Flow] = []
        stops = [start]
        steps = [self._steps(start)]
        on_way = {start.rule.index: 0}
        while steps:
            step = next(steps[-1], None)
            if step is None:
                steps.pop()
                left = stops.pop()
                self._done.add(left.key)
                del on_way[left.rule.index]
                del way[-1:]
                continue
            flow, following = step
            if following.rule.index in on_way:
                yield [*way[on_way[following.rule.index] :], flow]
            elif following.key not in self._done:
                on_way[following.rule.index] = len(stops)
                way.append(flow)
                stops.append(following)
                steps.append(self._steps(following))

    def _steps(self, stop: _Stop) -> Iterator[tuple[Flow, _Stop]]:
        """Yield where the images of a stop go, with the rules that read them there."""
        for flow in self._flows[stop.rule.index]:
            try:
                location = flow.template.location(stop.location)
            except InvalidReferenceError:
                continue  # told by another check where it is sure, and no image goes there
            for reader in (*self._exact.get(location, ()), *self._patterns.get(location.host, ())):
                if reads(reader.rule, location) and _takes(reader, flow):
                    yield flow, _Stop(reader, location)


def _takes(reader: ReadRule, flow: Flow) -> bool:
    source = reader.rule.source
    if source.digest is not None:
        # What is read by digest cannot change; only writing it onto itself is a circle.
        return flow.rule is reader and flow.tags.fixed == ()
    return meeting(flow.tags, TagSet.of_source(source, reader.rule.tags)) is Meeting.SURELY


def _finding(circle: list[Flow]) -> Finding:
    first = circle[0]
    if len(circle) == 1:
        message = f'the rule writes where it reads: "{first.template}" is, or becomes, a source of the same rule'
    else:
        chain = " -> ".join(flow.rule.rule.name for flow in (*circle, first))
        message = f"the rules feed each other in a circle: {chain}"
    return Finding(first.path, "RULE_LOOP", message)
