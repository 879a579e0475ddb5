"""`mirrord delete`: deletes one tag or one image, and nothing else unasked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mirrord.cli.options import Colour, ColourOption, ConfigOption, OutputFormat, OutputOption
from mirrord.cli.output import Output
from mirrord.cli.reach import PlainHttpOption, reach
from mirrord.cli.units import count_text
from mirrord.planning.report import EXIT_REFUSED

if TYPE_CHECKING:
    from mirrord.app import App
    from mirrord.sync.delete import Deleted, Deletion


def delete(
    reference: Annotated[
        str, typer.Argument(help="A tag, which goes alone, or a digest: [host[:port]/]path:tag or path@digest.")
    ],
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without it, only say what would be deleted.")] = False,
    with_tags: Annotated[
        bool, typer.Option("--with-tags", help="Also delete the other tags of the same digest.")
    ] = False,
    with_attachments: Annotated[
        bool, typer.Option("--with-attachments", help="Also delete signatures, SBOMs and the like of the digest.")
    ] = False,
    config: ConfigOption = None,
    plain_http: PlainHttpOption = None,
    output: OutputOption = OutputFormat.TEXT,
    color: ColourOption = Colour.AUTO,
) -> int:
    """Delete one tag, or one image by digest.

    A tag goes alone. Where a registry deletes by digest only, and for a digest, mirrord looks at all tags and indexes
    of the repository first, and refuses if others would go or break with it.
    """
    from mirrord.oci.reference import Reference
    from mirrord.sync.delete import delete as delete_image
    from mirrord.sync.delete import look_up

    named = Reference.parse(reference)
    out = Output(colour=color)
    if yes:

        async def body(app: App) -> Deleted:
            return await delete_image(app.context, named, with_tags=with_tags, with_attachments=with_attachments)

        deleted = reach(body, config=config, plain_http=plain_http)
        if output is OutputFormat.JSON:
            out.json(deleted_json(deleted))
        else:
            out.text(*deleted_lines(deleted))
        return 0

    async def look(app: App) -> Deletion:
        return await look_up(app.context, named)

    deletion = reach(look, config=config, plain_http=plain_http)
    if output is OutputFormat.JSON:
        out.json(deletion_json(deletion, by_tag=named.digest is None))
    else:
        out.text(*deletion_lines(deletion, by_tag=named.digest is None))
    return EXIT_REFUSED


def deletion_lines(deletion: Deletion, *, by_tag: bool) -> list[str]:
    """Return what would be deleted, and what else refers to it."""
    uses = deletion.uses
    image = f"{deletion.location}@{deletion.digest}"
    if by_tag:
        lines = [f"would delete the tag {deletion.location}:{deletion.tag}", f"  it is {image}"]
        if deletion.others:
            lines.append(f"  other tags of that digest, which stay: {_names(deletion.others)}")
    else:
        lines = [f"would delete {image}"]
        lines += [f"  its tags, which go with it: {_names(uses.tags)}"] if uses.tags else []
    if uses.indexes:
        lines.append(f"  part of {_names(uses.indexes)}")
    if uses.attachments:
        lines.append(f"  {count_text(len(uses.attachments), 'attachment')}: {_names(uses.attachments)}")
    if by_tag and (deletion.others or uses.indexes or uses.attachments):
        lines.append("  if this registry deletes by digest only, the deletion will be refused for the sake of these")
    return [*lines, "nothing was deleted; give --yes to do it"]


def deleted_lines(deleted: Deleted) -> list[str]:
    """Return what was deleted, a line each."""
    tags = [f"deleted the tag {deleted.location}:{tag}" for tag in deleted.tags]
    return [*tags, *(f"deleted {deleted.location}@{digest}" for digest in deleted.manifests)]


def deletion_json(deletion: Deletion, *, by_tag: bool) -> dict[str, object]:
    """Return what would be deleted, for JSON."""
    return {
        "deleted": False,
        "repository": str(deletion.location),
        "tag": str(deletion.tag) if deletion.tag is not None else None,
        "digest": str(deletion.digest),
        "by": "tag" if by_tag else "digest",
        "tags": [str(tag) for tag in deletion.uses.tags],
        "indexes": list(deletion.uses.indexes),
        "attachments": [str(digest) for digest in deletion.uses.attachments],
    }


def deleted_json(deleted: Deleted) -> dict[str, object]:
    """Return what was deleted, for JSON."""
    return {
        "deleted": True,
        "repository": str(deleted.location),
        "tags": [str(tag) for tag in deleted.tags],
        "manifests": [str(digest) for digest in deleted.manifests],
    }


def _names(names: tuple[object, ...]) -> str:
    return ", ".join(map(str, names))
