"""Where tags flow: from what a rule reads to what it writes, as far as the file alone can tell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mirrord.config.finding import Finding
from mirrord.config.rules import ReadRule
from mirrord.errors import InvalidReferenceError
from mirrord.oci.reference import Location
from mirrord.planning.feeds import sample_sources
from mirrord.planning.tagsets import TagSet
from mirrord.planning.target import TargetTemplate


@dataclass(frozen=True, slots=True)
class Flow:
    """What one rule writes through one target.

    Attributes:
        rule: the rule.
        target: the target's place in the rule's list, from 0.
        locations: where it writes: the one location, or two samples where the source is a pattern.
        tags: the tags that it writes there.
    """

    rule: ReadRule
    target: int
    locations: tuple[Location, ...]
    tags: TagSet

    @property
    def location(self) -> Location | None:
        """The one location that is written; None where it depends on the repository that is read."""
        return self.locations[0] if len(set(self.locations)) == 1 else None

    @property
    def template(self) -> TargetTemplate:
        """The target as it is written in the file."""
        return self.rule.rule.targets[self.target]

    @property
    def path(self) -> tuple[str | int, ...]:
        """The path of the target in the file."""
        return ("rules", self.rule.index, "targets", self.target)

    @property
    def content(self) -> tuple[object, ...]:
        """What decides which content a tag gets: two flows with the same never fight over it."""
        rule = self.rule.rule
        source = rule.source
        place = source.location or (source.host, str(source.repositories.pattern) if source.repositories else "")
        return (place, source.tag, source.digest, rule.platforms, self.tags.pieces)


def flows_of(rules: Sequence[ReadRule]) -> tuple[list[Flow], list[Finding]]:
    """Return all flows, and the targets for which no valid location or tag comes out."""
    flows: list[Flow] = []
    findings: list[Finding] = []
    for rule in rules:
        for found in _flows(rule):
            if isinstance(found, Flow):
                flows.append(found)
            else:
                findings.append(found)
    return flows, findings


def _flows(rule: ReadRule) -> Iterator[Flow | Finding]:
    source = rule.rule.source
    samples = sample_sources(source)
    for number, template in enumerate(rule.rule.targets):
        try:
            locations = tuple(template.location(sample) for sample in samples)
            tags = TagSet.of_target(template, source, rule.rule.tags, samples[0])
        except InvalidReferenceError as exc:
            yield Finding(("rules", rule.index, "targets", number), exc.code, exc.message)
        else:
            yield Flow(rule, number, locations, tags)
