"""Which repositories and tags a rule takes: asks the source as little as possible, then selects."""

from __future__ import annotations

from dataclasses import dataclass

from mirrord.errors import MirrordError
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What a rule takes of one repository.

    ``selection`` tells of every listed tag. ``demanded`` are tags that the rule names literally: one of them that
    does not exist is a failure. ``digest`` is set for a rule that names an image by digest.
    """

    source: Location
    selection: Selection
    demanded: frozenset[Tag] = frozenset()
    digest: Digest | None = None
    warnings: tuple[str, ...] = ()


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
    demanded = _demanded(rule.tags)
    known = context.listings.known(source)
    count = len(known.entries) if known is not None else None
    if literal is not None and choose_survey(rule.tags, len(literal), reader.listing, count) is Survey.HEAD_EACH:
        entries = {tag: TagEntry(tag=tag) for tag in literal}
        skipped = 0
    else:
        index = await context.listings.all_tags(reader)
        entries, skipped = dict(index.entries), index.skipped
        entries |= {tag: TagEntry(tag=tag) for tag in demanded if tag not in entries}
    if rule.tags.needs_times:
        entries |= await dated(context, reader, rule.tags, entries)
    selection = select_tags(rule.tags, tuple(entries.values()), context.clock.now())
    return Choice(
        source=source,
        selection=selection,
        demanded=demanded,
        warnings=tuple(_warnings(source, selection, skipped, listed=len(entries))),
    )


def _demanded(selector: TagSelector) -> frozenset[Tag]:
    return frozenset(tag for pattern in selector.include if (tag := pattern.literal) is not None)


async def dated(
    context: Context, reader: RepositoryReader, selector: TagSelector, entries: dict[Tag, TagEntry]
) -> dict[Tag, TagEntry]:
    """Return the entries that passed the filters by name, with the times that their images tell."""
    wanted = [tag for tag in name_candidates(selector, entries) if entries[tag].created is None]

    async def date(tag: Tag) -> TagEntry:
        try:
            head = await reader.head(tag)
            created = await creation_time(reader, context.slots, head.digest) if head is not None else None
        except MirrordError:
            created = None  # the selection says that its time is unknown; a demanded tag fails when it is looked at
        return TagEntry(tag=tag, digest=entries[tag].digest, created=created)

    return {entry.tag: entry for entry in await each(wanted, date, LOOKS_AT_ONCE)} if wanted else {}


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
