"""Rules that feed themselves, at once or through others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from mirrord.config.finding import Finding
from mirrord.config.flows import Flow, reads
from mirrord.config.rules import ReadRule
from mirrord.config.tagsets import Meeting, TagSet, meeting
from mirrord.oci.reference import Location


def find_loops(rules: Sequence[ReadRule], flows: Sequence[Flow]) -> Iterator[Finding]:
    """Yield one finding for each circle of rules in which each surely reads what the one before it writes."""
    readers = _Readers(rules)
    feeds: dict[int, list[tuple[int, Flow]]] = defaultdict(list)
    for flow in flows:
        for reader in readers.of(flow):
            feeds[flow.rule.index].append((reader.index, flow))
    names = {rule.index: rule.rule.name for rule in rules}
    done: set[int] = set()
    for rule in rules:
        for circle in _circles(rule.index, feeds, done):
            yield _finding(circle, names)


class _Readers:
    """Finds the rules that read what a flow writes, without comparing each with each."""

    def __init__(self, rules: Sequence[ReadRule]) -> None:
        self._exact: dict[Location, list[ReadRule]] = defaultdict(list)
        self._patterns: dict[str, list[ReadRule]] = defaultdict(list)
        for rule in rules:
            source = rule.rule.source
            if source.location is not None:
                self._exact[source.location].append(rule)
            else:
                self._patterns[source.host].append(rule)

    def of(self, flow: Flow) -> Iterator[ReadRule]:
        seen: set[int] = set()
        for location in flow.locations:
            candidates = self._exact.get(location, []) if flow.location is not None else []
            for rule in (*candidates, *self._patterns.get(location.host, [])):
                if rule.index not in seen and reads(rule.rule, location) and _takes(rule, flow):
                    seen.add(rule.index)
                    yield rule


def _takes(reader: ReadRule, flow: Flow) -> bool:
    source = reader.rule.source
    if source.digest is not None:
        # What is read by digest cannot change; only writing it onto itself is a circle.
        return flow.rule is reader and flow.tags.fixed == ()
    own = TagSet.of_source(source, reader.rule.tags)
    return meeting(flow.tags, own) is Meeting.SURELY


def _circles(start: int, feeds: dict[int, list[tuple[int, Flow]]], done: set[int]) -> Iterator[list[Flow]]:
    """Yield the circles that a walk from ``start`` closes; ``done`` holds the rules that no walk need see again."""
    if start in done:
        return
    on_way = {start: 0}
    way: list[Flow] = []
    stack = [iter(feeds.get(start, []))]
    rules = [start]
    while stack:
        step = next(stack[-1], None)
        if step is None:
            stack.pop()
            left = rules.pop()
            done.add(left)
            del on_way[left]
            if way:
                way.pop()
            continue
        following, flow = step
        if following in on_way:
            yield [*way[on_way[following] :], flow]
        elif following not in done:
            on_way[following] = len(rules)
            rules.append(following)
            way.append(flow)
            stack.append(iter(feeds.get(following, [])))


def _finding(circle: list[Flow], names: dict[int, str]) -> Finding:
    first = circle[0]
    if len(circle) == 1:
        message = f'the rule writes where it reads: "{first.template}" is, or becomes, a source of the same rule'
    else:
        chain = " -> ".join([*(names[flow.rule.index] for flow in circle), names[first.rule.index]])
        message = f"the rules feed each other in a circle: {chain}"
    return Finding(first.path, "RULE_LOOP", message)
