"""Where tags flow: from what a rule reads to what it writes, as far as the file alone can tell."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from mirrord.config.finding import Finding
from mirrord.config.rules import ReadRule
from mirrord.config.tagsets import TagSet
from mirrord.errors import InvalidReferenceError
from mirrord.oci.reference import Location, Repository
from mirrord.planning.rule import Rule, Source
from mirrord.planning.select import select_repositories
from mirrord.planning.target import TargetTemplate

_WILDCARD = re.compile(r"(?P<across>\*{2,})|(?P<within>[*?])")
# The first for each kind of wildcard differ from the second everywhere, and have the shape of what it stands for.
_SAMPLES = ({"across": "a/b", "within": "a"}, {"across": "c/d", "within": "c"})


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


def sample_sources(source: Source) -> tuple[Location, ...]:
    """Return the location that a rule reads, or two that it could."""
    if source.location is not None:
        return (source.location,)
    assert source.repositories is not None
    text, host = source.repositories.pattern.text, source.repositories.host
    return tuple(Repository(host, _fill(text, words)) for words in _SAMPLES)


def _fill(text: str, words: Mapping[str, str]) -> str:
    return _WILDCARD.sub(lambda match: words[match.lastgroup or ""], text)


def reads(rule: Rule, location: Location) -> bool:
    """Say whether a rule reads ``location``."""
    if rule.source.location is not None:
        return rule.source.location == location
    assert rule.source.repositories is not None
    return isinstance(location, Repository) and bool(select_repositories(rule.source.repositories, (location,)))


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
