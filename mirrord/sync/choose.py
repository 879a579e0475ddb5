"""Which repositories and tags a rule takes: asks the source as little as possible, then selects."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from mirrord.errors import (
    ContentMismatchError,
    InvalidDigestError,
    InvalidManifestError,
    MirrordError,
    NotFoundError,
)
from mirrord.oci.digest import Digest
from mirrord.oci.reference import Location, Repository, Tag
from mirrord.planning.listing import TagEntry
from mirrord.planning.rule import Rule, TagSelector
from mirrord.planning.select import Selection, TagChoice, name_candidates, select_repositories, select_tags
from mirrord.planning.survey import Survey, choose_survey
from mirrord.ports.registry import RepositoryReader
from mirrord.sync.context import LOOKS_AT_ONCE, Context
from mirrord.sync.created import creation_time
from mirrord.transfer.side import each

_UNREADABLE = (ContentMismatchError, InvalidDigestError, InvalidManifestError, NotFoundError)
"""The source answered, and what it holds says nothing. Any other error may hide a creation time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What a rule takes of one repository.

    ``selection`` tells of every listed tag. ``demanded`` are tags that the rule names literally: one of them that
    does not exist is a failure, but where the rule reads many repositories, not all of which need it. ``digest`` is
    set for a rule that names an image by digest. ``troubles`` are tags of which nobody knows whether the rule takes
    them, since their age could not be asked for.
    """

    source: Location
    selection: Selection
    demanded: frozenset[Tag] = frozenset()
    digest: Digest | None = None
    warnings: tuple[str, ...] = ()
    troubles: Mapping[Tag, MirrordError] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dates:
    """What came of asking when tags were created.

    ``missing`` are tags that do not exist, ``troubles`` those that could not be asked for.
    """

    entries: dict[Tag, TagEntry] = field(default_factory=dict)
    missing: set[Tag] = field(default_factory=set)
    troubles: dict[Tag, MirrordError] = field(default_factory=dict)


async def find_sources(context: Context, rule: Rule) -> tuple[Location, ...]:
    """Return the repositories that a rule reads.

    Raises:
        RegistryError: the registry does not list its repositories.
    """
    if rule.source.location is not None:
        return (rule.source.location,)
    selector = rule.source.repositories
    assert selector is not None
    found: list[Repository] = [
        repository async for repository in context.gateway.repositories(selector.host, selector.pattern.prefix)
    ]
    return select_repositories(selector, found)


async def choose_tags(context: Context, rule: Rule, source: Location) -> Choice:
    """Return the tags that a rule takes of one repository.

    Raises:
        RegistryError: the repository could not be listed.
    """
    if rule.source.digest is not None or rule.source.tag is not None:
        tags = (rule.source.tag,) if rule.source.tag is not None else ()
        choices = tuple(TagChoice(tag, taken=True, by="named by the rule") for tag in tags)
        return Choice(
            source=source,
            selection=Selection(choices=choices),
            demanded=frozenset(tags),
            digest=rule.source.digest,
        )
    reader = context.gateway.reader(source)
    literal = rule.tags.literal_tags
    demanded = _demanded(rule.tags) if rule.source.repositories is None else frozenset()
    known = context.listings.known(source)
    count = len(known.entries) if known is not None else None
    if literal is not None and choose_survey(rule.tags, len(literal), reader.listing, count) is Survey.HEAD_EACH:
        entries = {tag: TagEntry(tag=tag) for tag in literal}
        skipped = 0
    else:
        index = await context.listings.all_tags(reader)
        entries, skipped = dict(index.entries), index.skipped
        entries |= {tag: TagEntry(tag=tag) for tag in demanded if tag not in entries}
    dates = await dated(context, reader, rule.tags, entries) if rule.tags.needs_times else Dates()
    entries |= dates.entries
    open_ended = dates.missing | dates.troubles.keys()
    known_age = [entry for tag, entry in entries.items() if tag not in open_ended]
    selection = _with(select_tags(rule.tags, known_age, context.clock.now()), open_ended)
    return Choice(
        source=source,
        selection=selection,
        demanded=demanded,
        warnings=tuple(_warnings(source, selection, skipped, listed=len(entries))),
        troubles=dates.troubles,
    )


def _demanded(selector: TagSelector) -> frozenset[Tag]:
    return frozenset(tag for pattern in selector.include if (tag := pattern.literal) is not None)


def _with(selection: Selection, tags: Collection[Tag]) -> Selection:
    """Return a selection with further tags taken, so that the look at them tells what is the matter."""
    more = [TagChoice(tag, taken=True, by="its age could not be found out") for tag in tags]
    return replace(selection, choices=tuple(sorted((*selection.choices, *more), key=lambda choice: str(choice.tag))))


async def dated(
    context: Context, reader: RepositoryReader, selector: TagSelector, entries: Mapping[Tag, TagEntry]
) -> Dates:
    """Return the entries that passed the filters by name, with the times that their images tell."""
    dates = Dates()

    async def date(tag: Tag) -> None:
        try:
            head = await context.resolutions.head(reader, tag)
            if head is None:
                dates.missing.add(tag)
                return
            created = await creation_time(reader, context.slots, head.digest)
        except _UNREADABLE:
            created = None
        except MirrordError as exc:
            dates.troubles[tag] = exc
            return
        dates.entries[tag] = TagEntry(tag=tag, digest=entries[tag].digest, created=created)

    wanted = [tag for tag in name_candidates(selector, entries) if entries[tag].created is None]
    if wanted:
        await each(wanted, date, LOOKS_AT_ONCE)
    return dates


def _warnings(source: Location, selection: Selection, skipped: int, *, listed: int) -> list[str]:
    warnings = []
    if not selection.taken:
        warnings.append(
            f"{source}: the tag filters take none of its {listed} tags" if listed else f"{source} has no tags"
        )
    if skipped:
        warnings.append(f"{source}: {skipped} names in the tag list are no tags and were passed over")
    if selection.undated:
        names = ", ".join(str(tag) for tag in selection.undated[:5])
        warnings.append(
            f"{source}: {len(selection.undated)} tags are left out since nothing says when they were created ({names})"
        )
    return warnings
