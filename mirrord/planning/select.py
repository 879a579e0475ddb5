"""Selection: which tags and repositories a rule takes, and which filter took or refused each of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from mirrord.oci.reference import Location, Repository, Tag
from mirrord.planning.attachment import describe_attachment, is_attachment
from mirrord.planning.listing import TagEntry
from mirrord.planning.rule import Newest, NewestBy, RepositorySelector, Rule, TagSelector
from mirrord.planning.semver import Version

UNDATED = "its creation time is unknown"
NO_FILTER = "every tag is taken"
NO_MATCH = "not in include or semver"

_ORDINAL_ENDINGS = {1: "st", 2: "nd", 3: "rd"}
_UNITS = (("d", 86_400), ("h", 3_600), ("m", 60))

_Key = TypeVar("_Key", datetime, Version, str)


@dataclass(frozen=True, slots=True)
class TagChoice:
    """Whether a tag is taken, and by which filter, in words: ``exclude "*-rc*"`` for instance."""

    tag: Tag
    taken: bool
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What became of every listed tag, sorted by tag.

    ``undated`` are tags that passed all name filters but were left out because the rule asks for their age and no
    one knows it.
    """

    choices: tuple[TagChoice, ...]
    undated: tuple[Tag, ...] = ()

    @property
    def taken(self) -> tuple[Tag, ...]:
        """The tags that the rule takes, sorted."""
        return tuple(choice.tag for choice in self.choices if choice.taken)


def select_tags(selector: TagSelector, entries: Collection[TagEntry], now: datetime) -> Selection:
    """Return which of the listed tags the rule takes at the moment ``now``; the order of the listing has no influence.

    Filters apply in this order: include and semver, exclude, max_age, newest. Attachments of other images (see
    `mirrord.planning.attachment`) are taken only by an include that names them literally.
    """
    created = _unique(entries)
    choices = {tag: _choose_by_name(selector, tag) for tag in created}
    undated: tuple[Tag, ...] = ()
    if selector.needs_times:
        undated = tuple(sorted(tag for tag in _taken(choices) if created[tag] is None))
        _refuse(choices, dict.fromkeys(undated, UNDATED))
    if selector.max_age is not None:
        _refuse(choices, _too_old(_dated(_taken(choices), created), now, selector.max_age))
    if selector.newest is not None:
        _refuse(choices, _not_newest(selector.newest, _taken(choices), created))
    return Selection(choices=tuple(choices[tag] for tag in sorted(choices, key=str)), undated=undated)


def name_candidates(selector: TagSelector, tags: Iterable[Tag]) -> tuple[Tag, ...]:
    """Return the tags that pass all filters by name, sorted: those whose creation times are worth asking for."""
    return tuple(tag for tag in sorted(set(tags)) if _choose_by_name(selector, tag).taken)


def select_repositories(selector: RepositorySelector, repositories: Iterable[Repository]) -> tuple[Repository, ...]:
    """Return the repositories that the rule reads, sorted, each once.

    A repository is read if its path matches the pattern of the source, one pattern of include where there is any,
    and none of exclude.
    """

    def takes(repository: Repository) -> bool:
        path = repository.path
        return (
            repository.host == selector.host
            and selector.pattern.matches(path)
            and (not selector.include or any(pattern.matches(path) for pattern in selector.include))
            and not any(pattern.matches(path) for pattern in selector.exclude)
        )

    return tuple(sorted(filter(takes, set(repositories))))


def map_targets(rule: Rule, source: Location) -> tuple[Location, ...]:
    """Return where the images of ``source`` go, one location for each target of the rule, in their order.

    Raises:
        InvalidReferenceError: a template gives no valid repository for this source (TEMPLATE_RESULT_INVALID).
    """
    return tuple(template.location(source) for template in rule.targets)


def _unique(entries: Collection[TagEntry]) -> dict[Tag, datetime | None]:
    """Return the creation time of every tag; of a tag that a listing repeats, the latest that is known."""
    created: dict[Tag, datetime | None] = {}
    for entry in entries:
        times = [time for time in (created.get(entry.tag), entry.created) if time is not None]
        created[entry.tag] = max(times, default=None)
    return created


def _choose_by_name(selector: TagSelector, tag: Tag) -> TagChoice:
    by = _taken_by(selector, tag)
    if by is None:
        return TagChoice(tag, taken=False, by=describe_attachment(tag) if is_attachment(tag) else NO_MATCH)
    for pattern in selector.exclude:
        if pattern.matches(tag):
            return TagChoice(tag, taken=False, by=f'exclude "{pattern}"')
    return TagChoice(tag, taken=True, by=by)


def _taken_by(selector: TagSelector, tag: Tag) -> str | None:
    """Return which of include and semver takes ``tag``; None if neither does."""
    attachment = is_attachment(tag)
    for pattern in selector.include:
        if pattern.matches(tag) and (pattern.literal is not None or not attachment):
            return f'include "{pattern}"'
    if attachment:
        return None
    if selector.semver is not None:
        version = Version.parse(tag.name)
        if version is not None and selector.semver.matches(version):
            return f'semver "{selector.semver}"'
        return None
    return None if selector.include else NO_FILTER


def _taken(choices: Mapping[Tag, TagChoice]) -> tuple[Tag, ...]:
    return tuple(tag for tag, choice in choices.items() if choice.taken)


def _refuse(choices: dict[Tag, TagChoice], reasons: Mapping[Tag, str]) -> None:
    choices.update({tag: TagChoice(tag, taken=False, by=by) for tag, by in reasons.items()})


def _dated(tags: Iterable[Tag], created: Mapping[Tag, datetime | None]) -> dict[Tag, datetime]:
    return {tag: time for tag in tags if (time := created[tag]) is not None}


def _too_old(created: Mapping[Tag, datetime], now: datetime, max_age: timedelta) -> dict[Tag, str]:
    reason = f"older than {_format_span(max_age)}"
    # The difference always exists, where now - max_age can lie before the first year.
    return {tag: reason for tag, time in created.items() if now - time > max_age}


def _not_newest(newest: Newest, tags: Collection[Tag], created: Mapping[Tag, datetime | None]) -> dict[Tag, str]:
    """Return why each tag is refused that is not among the newest; names order lexicographically, the last first."""
    if newest.by is NewestBy.SEMVER:
        versions = {tag: version for tag in tags if (version := Version.parse(tag.name)) is not None}
        reasons = {tag: "newest: no version to compare by semver" for tag in tags if tag not in versions}
        return reasons | _beyond(newest, versions)
    if newest.by is NewestBy.CREATED:
        return _beyond(newest, _dated(tags, created))
    return _beyond(newest, {tag: tag.name for tag in tags})


def _beyond(newest: Newest, keys: Mapping[Tag, _Key]) -> dict[Tag, str]:
    """Return the tags after the first ``newest.count`` by descending key, of equal keys the lower name first."""
    ranked = sorted(sorted(keys, key=str), key=keys.__getitem__, reverse=True)
    return {
        tag: f"newest: {_format_ordinal(rank)} of {newest.count} by {newest.by}"
        for rank, tag in enumerate(ranked, 1)
        if rank > newest.count
    }


def _format_ordinal(number: int) -> str:
    teens = number % 100 in {11, 12, 13}
    return f"{number}{'th' if teens else _ORDINAL_ENDINGS.get(number % 10, 'th')}"


def _format_span(span: timedelta) -> str:
    """Return ``span`` as the configuration writes it: a whole number of the largest unit that fits."""
    seconds = int(span.total_seconds())
    unit, size = next(((unit, size) for unit, size in _UNITS if seconds % size == 0), ("s", 1))
    return f"{seconds // size}{unit}"
