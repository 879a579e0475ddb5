"""Sets of tags that are known by their rules only, and whether two of them meet.

A set is what a selector takes, put through the tag part of a target. Whether two sets have a tag in common cannot
be told in general, since regular expressions and versions are opaque here; so there are three answers, and the
sure yes always rests on a tag that both sets were seen to take, or on two sets that say the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum

from mirrord.errors import InvalidReferenceError
from mirrord.oci.reference import Location, Tag
from mirrord.planning.pattern import TagPattern
from mirrord.planning.rule import Source, TagSelector
from mirrord.planning.select import name_candidates
from mirrord.planning.target import TargetTemplate

_PROBE = "PROBE"
_FILLINGS = ("", "0", "1", "1.0", "1.0.0", "v1.0.0", "latest", "main", "stable", "x")


class Meeting(Enum):
    """Whether two sets have a tag in common."""

    NEVER = "never"
    PERHAPS = "perhaps"
    SURELY = "surely"


@dataclass(frozen=True, slots=True)
class _Family:
    """Tags that begin and end alike. ``exact``: only ``prefix`` itself; ``opaque``: not all of these are taken."""

    prefix: str = ""
    suffix: str = ""
    exact: bool = False
    opaque: bool = False
    text: str = ""


@dataclass(frozen=True, slots=True)
class TagSet:
    """What a selector takes, each tag put between ``pieces`` of text; or with ``fixed`` just these tags.

    There are two pieces for a tag that appears once, ``hub-`` and an empty one for ``hub-{tag}``, and one more for
    each time that it is repeated.
    """

    selector: TagSelector = field(default_factory=TagSelector)
    pieces: tuple[str, ...] = ("", "")
    fixed: tuple[str, ...] | None = None

    @classmethod
    def of_source(cls, source: Source, selector: TagSelector) -> TagSet:
        """Return the tags that a rule reads, unless it reads by digest alone."""
        if source.tag is not None:
            return cls(fixed=(source.tag.name,))
        return cls(selector)

    @classmethod
    def of_target(cls, template: TargetTemplate, source: Source, selector: TagSelector, sample: Location) -> TagSet:
        """Return the tags that a rule writes to a target; ``sample`` is one of the locations that it reads.

        Raises:
            InvalidReferenceError: what comes out for a tag of the source is no valid tag.
        """
        if source.tag is not None or source.digest is not None:
            tag = template.tag(source.tag, sample)
            return cls(fixed=(tag.name,) if tag else ())
        literals = selector.literal_tags
        if literals is not None:
            written = (template.tag(tag, sample) for tag in name_candidates(selector, literals))
            return cls(fixed=tuple(dict.fromkeys(tag.name for tag in written if tag is not None)))
        probe = template.tag(Tag(_PROBE), sample)
        assert probe is not None
        pieces = tuple(probe.name.split(_PROBE))
        return cls(selector, pieces) if len(pieces) > 1 else cls(fixed=(probe.name,))

    @property
    def before(self) -> str:
        """What every tag begins with."""
        return self.pieces[0]

    @property
    def after(self) -> str:
        """What every tag ends with."""
        return self.pieces[-1]

    @property
    def repeats(self) -> bool:
        """Whether the source's tag appears more than once, so that not everything between is a tag of the set."""
        return len(self.pieces) > 2  # noqa: PLR2004 - text before and after

    def takes(self, name: str) -> bool:
        """Say whether ``name`` is in the set, were it a tag of the source."""
        if self.fixed is not None:
            return name in self.fixed
        length = (len(name) - sum(map(len, self.pieces))) // (len(self.pieces) - 1)
        inner = name[len(self.before) : len(self.before) + max(length, 0)]
        if inner.join(self.pieces) != name:
            return False
        try:
            return bool(name_candidates(self.selector, (Tag.parse(inner),)))
        except InvalidReferenceError:
            return False

    def families(self) -> Iterator[_Family]:
        """Yield families of tags that together have the whole set."""
        if self.fixed is not None:
            yield from (_Family(name, exact=True) for name in self.fixed)
            return
        if not self.selector.include and self.selector.semver is None:
            yield _Family(self.before, self.after, opaque=self.repeats)
        for pattern in self.selector.include:
            yield self._family(pattern)
        if self.selector.semver is not None:
            yield _Family(self.before, self.after, opaque=True, text=f"semver {self.selector.semver}")

    def _family(self, pattern: TagPattern) -> _Family:
        text = pattern.text
        if pattern.literal is not None:
            return _Family(f"{self.before}{text}{self.after}", exact=True)
        if text.startswith("/"):
            return _Family(self.before, self.after, opaque=True, text=text)
        first = min(text.find(wildcard) for wildcard in "*?[" if wildcard in text)
        tail = text[max(text.rfind(wildcard) for wildcard in "*?]") + 1 :]
        plain = set(text[first : len(text) - len(tail)]) == {"*"}
        return _Family(self.before + text[:first], tail + self.after, opaque=self.repeats or not plain, text=text)


def meeting(one: TagSet, other: TagSet) -> Meeting:
    """Say whether two sets have a tag in common."""
    answer = Meeting.NEVER
    for family in one.families():
        for second in other.families():
            found = _meeting(family, second, one, other)
            if found is Meeting.SURELY:
                return found
            answer = found if found is Meeting.PERHAPS else answer
    return answer


def _meeting(a: _Family, b: _Family, one: TagSet, other: TagSet) -> Meeting:
    if a.exact or b.exact:
        name = a.prefix if a.exact else b.prefix
        return Meeting.SURELY if one.takes(name) and other.takes(name) else Meeting.NEVER
    prefix = _nested(a.prefix, b.prefix, str.startswith)
    suffix = _nested(a.suffix, b.suffix, str.endswith)
    if prefix is None or suffix is None:
        return Meeting.NEVER
    same_words = one.pieces == other.pieces
    if same_words and (_excludes(one, b) or _excludes(other, a)):
        return Meeting.NEVER
    candidates = (f"{prefix}{filling}{suffix}" for filling in _FILLINGS)
    if any(one.takes(name) and other.takes(name) for name in candidates):
        return Meeting.SURELY
    if same_words and a.text == b.text and not (one.selector.exclude and other.selector.exclude):
        return Meeting.SURELY
    return Meeting.SURELY if _covers(a, one, b) or _covers(b, other, a) else Meeting.PERHAPS


def _nested(a: str, b: str, holds: Callable[[str, str], bool]) -> str | None:
    """Return the longer text if it begins (or ends) with the shorter one."""
    long, short = (a, b) if len(a) >= len(b) else (b, a)
    return long if holds(long, short) else None


def _covers(all_: _Family, tags: TagSet, some: _Family) -> bool:
    """Say whether ``all_`` has whatever ``some`` has."""
    is_unrestricted = not all_.opaque and not all_.text and not tags.selector.exclude
    return is_unrestricted and some.prefix.startswith(all_.prefix) and some.suffix.endswith(all_.suffix)


def _excludes(tags: TagSet, family: _Family) -> bool:
    return bool(family.text) and any(pattern.text == family.text for pattern in tags.selector.exclude)
