"""Whether one rule writes what another one reads, as far as the rules alone can tell.

A "no" is sure. A "yes" may be too much where a source is a pattern or a filter of tags is an expression: a rule that
waits in vain is late, one that does not wait is wrong.
"""

from __future__ import annotations

import posixpath
import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice, takewhile

from mirrord.errors import InvalidReferenceError
from mirrord.oci.reference import LAYOUT_SCHEME, LayoutDirectory, Location, Repository
from mirrord.planning.rule import Rule, Source
from mirrord.planning.select import select_repositories
from mirrord.planning.tagsets import Meeting, TagSet, meeting
from mirrord.planning.target import TargetTemplate

_WILDCARD = re.compile(r"(?P<across>\*{2,})|(?P<within>[*?])")
# The first for each kind of wildcard differ from the second everywhere, and have the shape of what it stands for.
_SAMPLES = ({"across": "a/b", "within": "a"}, {"across": "c/d", "within": "c"})


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


class Readers:
    """The rules by what they read, so that those are found quickly that one rule feeds."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        """Sort ``rules`` by place."""
        exact = [(_segments(rule.source.location), rule) for rule in rules if rule.source.location is not None]
        self._exact = sorted(exact, key=lambda entry: (entry[0], entry[1].name))
        self._patterns: dict[str, list[Rule]] = defaultdict(list)
        for rule in rules:
            if rule.source.repositories is not None:
                self._patterns[rule.source.host].append(rule)

    def fed_by(self, writer: Rule) -> Iterator[Rule]:
        """Yield the rules that may read what ``writer`` writes, some of them more than once; perhaps itself."""
        for template in writer.targets:
            for reader in self._at(*_places(writer, template)):
                if _tags_meet(writer, template, reader):
                    yield reader

    def _at(self, common: tuple[str, ...], only: Location | None) -> Iterator[Rule]:
        """Yield the rules that may read what is written below ``common``, or where it is known at ``only``."""
        first = bisect_left(self._exact, common, key=lambda entry: entry[0])
        for segments, reader in islice(self._exact, first, None):
            if segments[: len(common)] != common or (only is not None and segments != common):
                break
            yield reader
        for reader in self._patterns.get(common[0], ()):
            selector = reader.source.repositories
            assert selector is not None
            prefix = (selector.host, *filter(None, selector.pattern.prefix.split("/")))
            shorter = min(len(prefix), len(common))
            if reads(reader, only) if only is not None else prefix[:shorter] == common[:shorter]:
                yield reader


def _places(writer: Rule, template: TargetTemplate) -> tuple[tuple[str, ...], Location | None]:
    """Return the segments that all locations begin with which a rule writes by a template, and the only location.

    The samples of a pattern differ in all that a wildcard stands for, so what they share is shared by all.
    """
    source = writer.source
    anywhere = LAYOUT_SCHEME if template.text.startswith(LAYOUT_SCHEME) else template.host
    if source.repositories is not None and source.repositories.pattern.text.startswith("/"):
        return (anywhere,), None  # a regular expression has no samples
    try:
        locations = [template.location(sample) for sample in sample_sources(source)]
    except InvalidReferenceError:
        return (anywhere,), None
    common = _common([_segments(location) for location in locations])
    return common, locations[0] if len(set(locations)) == 1 else None


def _segments(location: Location) -> tuple[str, ...]:
    if isinstance(location, LayoutDirectory):
        return (LAYOUT_SCHEME, *posixpath.normpath(location.path).split("/"))
    return (location.host, *location.path.split("/"))


def _common(paths: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """Return the segments that all ``paths`` begin with."""
    same = takewhile(lambda segments: len(set(segments)) == 1, zip(*paths, strict=False))
    return tuple(segments[0] for segments in same)


def _tags_meet(writer: Rule, template: TargetTemplate, reader: Rule) -> bool:
    """Say whether a rule may read a tag that another one writes to the same place."""
    if reader.source.digest is not None:
        return True
    try:
        sets = [
            TagSet.of_target(template, writer.source, writer.tags, sample) for sample in sample_sources(writer.source)
        ]
    except InvalidReferenceError:
        return True  # one tag gives no valid one; the others may
    if sets[0] != sets[-1]:
        return True  # the tags depend on the repository
    return meeting(sets[0], TagSet.of_source(reader.source, reader.tags)) is not Meeting.NEVER
