"""`mirrord tags`: the tags of a repository, and what filters make of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mirrord.cli.columns import columns
from mirrord.cli.options import Colour, ColourOption, ConfigOption, OutputFormat, OutputOption
from mirrord.cli.output import Output
from mirrord.cli.reach import PlainHttpOption, reach
from mirrord.cli.units import count_text
from mirrord.errors import UsageError, quote

if TYPE_CHECKING:
    from mirrord.app import App
    from mirrord.planning.rule import TagSelector
    from mirrord.sync.tags import TagList

Patterns = list[str] | None


def tags(
    repository: Annotated[str, typer.Argument(help="The repository, [host[:port]/]path, or oci:DIRECTORY.")],
    *,
    include: Annotated[
        Patterns, typer.Option(help="Take tags by name, glob or /regular expression/.", metavar="PATTERN")
    ] = None,
    exclude: Annotated[
        Patterns, typer.Option(help="Leave out tags by name, glob or /regular expression/.", metavar="PATTERN")
    ] = None,
    semver: Annotated[str | None, typer.Option(help='Take versions in a range, ">=1.25 <2".', metavar="RANGE")] = None,
    newest: Annotated[int | None, typer.Option(help="Of what is left, only the N newest.", metavar="N", min=1)] = None,
    by: Annotated[str | None, typer.Option(help="What --newest goes by: semver (default), created or name.")] = None,
    max_age: Annotated[str | None, typer.Option(help="Leave out what is older, 90d for instance.")] = None,
    config: ConfigOption = None,
    plain_http: PlainHttpOption = None,
    output: OutputOption = OutputFormat.TEXT,
    color: ColourOption = Colour.AUTO,
) -> None:
    """List the tags of a repository, and what filters take.

    With filters it shows which tags are in, which are out, and by which filter. The filters are those of a rule, in
    the words of the configuration file.
    """
    from mirrord.oci.reference import Reference
    from mirrord.sync.tags import list_tags

    reference = Reference.parse(repository)
    if reference.tag is not None or reference.digest is not None:
        raise UsageError(
            f"{quote(repository)} names an image, not a repository",
            remedy=f"write {reference.location}; `mirrord inspect` looks at one image",
        )
    selector = make_selector(
        include=include, exclude=exclude, semver=semver, newest=newest, newest_by=by, max_age=max_age
    )

    async def body(app: App) -> TagList:
        return await list_tags(app.context, reference.location, selector)

    listed = reach(body, config=config, plain_http=plain_http)
    out = Output(colour=color)
    if output is OutputFormat.JSON:
        out.json(as_json(listed))
    else:
        filtered = any((include, exclude, semver, newest, max_age))
        out.text(*(filtered_lines(listed) if filtered else [str(choice.tag) for choice in listed.selection.choices]))


def make_selector(
    *,
    include: Patterns,
    exclude: Patterns,
    semver: str | None,
    newest: int | None,
    newest_by: str | None,
    max_age: str | None,
) -> TagSelector:
    """Return the filters that the options say.

    Raises:
        UsageError: --by without --newest, or one of them cannot be read.
        InvalidReferenceError: a pattern or range is not valid.
    """
    from mirrord.config.units import parse_duration
    from mirrord.planning.pattern import TagPattern
    from mirrord.planning.rule import Newest, NewestBy, TagSelector
    from mirrord.planning.semver import VersionRange

    if newest_by is not None and newest is None:
        raise UsageError("--by says what --newest goes by", remedy="give --newest N too")
    orders = [str(order) for order in NewestBy]
    if newest_by is not None and newest_by not in orders:
        raise UsageError(f'--by "{quote(newest_by, 40)}" is none of {", ".join(orders)}')
    age = parse_duration(max_age) if max_age is not None else None
    if max_age is not None and age is None:
        raise UsageError(f'--max-age "{quote(max_age, 40)}" is no duration, such as 36h or 90d')
    return TagSelector(
        include=tuple(map(TagPattern.parse, include or ())),
        semver=VersionRange.parse(semver) if semver is not None else None,
        exclude=tuple(map(TagPattern.parse, exclude or ())),
        newest=Newest(count=newest, by=NewestBy(newest_by or NewestBy.SEMVER)) if newest is not None else None,
        max_age=age,
    )


def filtered_lines(listed: TagList) -> list[str]:
    """Return a line a tag, the taken ones first, and a sum."""
    choices = sorted(listed.selection.choices, key=lambda choice: not choice.taken)
    taken = len(listed.selection.taken)
    lines = columns([("in" if choice.taken else "out", str(choice.tag), choice.by) for choice in choices])
    return [*lines, f"{taken} of {count_text(len(choices), 'tag')} taken"]


def as_json(listed: TagList) -> dict[str, object]:
    """Return the result for JSON."""
    return {
        "repository": str(listed.location),
        "tags": [
            {
                "tag": str(choice.tag),
                "taken": choice.taken,
                "by": choice.by,
                "digest": str(listed.digests[choice.tag]) if choice.tag in listed.digests else None,
            }
            for choice in listed.selection.choices
        ],
        "taken": len(listed.selection.taken),
        "listed": len(listed.selection.choices),
        "skipped": listed.skipped,
    }
