"""Which repositories and tags a rule takes: asks the source as little as possible, then selects."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from mirrord.errors import MirrordError
from mirrord.oci.digest import Digest
from mirrord.oci.reference import Location, Repository, Tag
from mirrord.planning.listing import TagEntry
from mirrord.planning.rule import Rule, TagSelector
from mirrord.planning.select import Selection, TagChoice, name_candidates, select_repositories, select_tags
from mirrord.planning.survey import Survey, choose_survey
from mirrord.ports.registry import RepositoryReader
from mirrord.sync.context import LOOKS_AT_ONCE, Context
from mirrord.sync.dating import Dates, dated
from mirrord.sync.listing import TagIndex
from mirrord.sync.looking import ask_source
from mirrord.sync.remembered import Remembered
from mirrord.transfer.side import each

NAMES_PAGES = 2
"""A plain listing of at most so many pages stands beside each one with digests."""


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


async def choose_tags(context: Context, rule: Rule, source: Location, remembered: Remembered | None = None) -> Choice:
    """Return the tags that a rule takes of one repository; what is ``remembered`` as settled is not asked for.

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
    remembered = remembered or Remembered.nothing(rule, source, context.clock.now())
    reader = context.gateway.reader(source)
    demanded = _demanded(rule.tags) if rule.source.repositories is None else frozenset()
    entries, skipped = await _find_entries(context, rule.tags, reader, demanded, remembered)
    dates = await dated(context, reader, rule.tags, entries, remembered) if rule.tags.needs_times else Dates()
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


async def _find_entries(
    context: Context,
    selector: TagSelector,
    reader: RepositoryReader,
    demanded: Collection[Tag],
    remembered: Remembered,
) -> tuple[dict[Tag, TagEntry], int]:
    """Return the tags to choose from, and how many names of the listing are no tags.

    Literal tags are asked for one by one, or looked up where an API tells many at once, whichever costs less; all else
    needs a listing. What such an API lacks may exist all the same: what is named literally is asked for.
    """
    source, literal = reader.location, selector.literal_tags
    known = context.listings.known(source)
    count = len(known.entries) if known is not None else None
    if literal is not None:
        asked = sum(remembered.settled(tag) is None for tag in literal)
        wanted = choose_survey(selector, asked, reader.listing, count) if asked else Survey.HEAD_EACH
        if wanted is Survey.LIST and reader.listing.has_digests:
            told = await _look_up(context, reader, asked)
            return {tag: told.get(tag, TagEntry(tag=tag)) for tag in literal}, 0
        if wanted is Survey.HEAD_EACH:
            return {tag: TagEntry(tag=tag) for tag in literal}, 0
    index = await context.listings.told(reader)
    context.hints.learn(source, index.entries.values())
    entries = {tag: TagEntry(tag=tag) for tag in demanded} | index.entries
    if not index.complete:
        entries = await _find_untold(context, reader, index) | entries
        hidden = await _find_hidden(context, selector, reader, entries)
        entries |= {tag: TagEntry(tag=tag) for tag in hidden}
    return entries, index.skipped


async def _find_untold(context: Context, reader: RepositoryReader, told: TagIndex) -> dict[Tag, TagEntry]:
    """Return the tags of the plain listing: an API may lack a tag for good, which no rule would ever take then.

    It costs little where a page of it is large or the repository small; a long one is asked for in its turn.

    Raises:
        RegistryError: it failed, and the API told of no tag at all: that alone does not show that there is none.
    """
    if not told.entries:
        return (await context.listings.complete(reader)).entries
    few = reader.listing.pages(len(told.entries)) <= NAMES_PAGES
    if not few and not context.hints.is_listing_due(reader.location, context.clock):
        return {}
    complete = await context.listings.complete_if_possible(reader)
    return {tag: TagEntry(tag=tag) for tag in complete.entries} if complete is not None else {}


async def _look_up(context: Context, reader: RepositoryReader, most_pages: int) -> Mapping[Tag, TagEntry]:
    """Return what an API tells of a repository's tags, as far as that is worth ``most_pages`` requests."""
    known = context.listings.known(reader.location)
    if known is not None:
        return known.entries
    hints = await context.hints.ask(reader, most_pages)
    if hints is None:
        return {}
    entries = {entry.tag: entry for entry in hints.entries}
    if hints.whole:
        context.listings.take(reader.location, TagIndex(entries=entries, complete=False))
    return entries


async def _find_hidden(
    context: Context, selector: TagSelector, reader: RepositoryReader, entries: Mapping[Tag, TagEntry]
) -> list[Tag]:
    """Return tags that exist although an API did not tell of them: named literally, or written by this run."""
    literal = {tag for pattern in selector.include if (tag := pattern.literal) is not None}
    wanted = name_candidates(selector, literal | context.hints.written(reader.location))
    hidden = [tag for tag in wanted if tag not in entries]

    async def exists(tag: Tag) -> bool:
        try:
            return await ask_source(context, reader, tag) is not None
        except MirrordError:
            return True  # the look at it tells what is the matter

    found = await each(hidden, exists, LOOKS_AT_ONCE)
    return [tag for tag, there in zip(hidden, found, strict=True) if there]


def _demanded(selector: TagSelector) -> frozenset[Tag]:
    return frozenset(tag for pattern in selector.include if (tag := pattern.literal) is not None)


def _with(selection: Selection, tags: Collection[Tag]) -> Selection:
    """Return a selection with further tags taken, so that the look at them tells what is the matter."""
    more = [TagChoice(tag, taken=True, by="its age could not be found out") for tag in tags]
    return replace(selection, choices=tuple(sorted((*selection.choices, *more), key=lambda choice: str(choice.tag))))


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
