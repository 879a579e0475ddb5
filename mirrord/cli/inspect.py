"""`mirrord inspect`: what an image is made of, and what is attached to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mirrord.cli.options import Colour, ColourOption, ConfigOption, OutputFormat, OutputOption
from mirrord.cli.output import Output
from mirrord.cli.reach import PlainHttpOption, reach
from mirrord.errors import UsageError

if TYPE_CHECKING:
    from mirrord.app import App
    from mirrord.oci.manifest import AnyManifest
    from mirrord.sync.inspect import Inspection


def inspect(
    reference: Annotated[str, typer.Argument(help="The image, [host[:port]/]path[:tag][@digest], or oci:DIRECTORY.")],
    *,
    raw: Annotated[bool, typer.Option("--raw", help="Print the manifest's bytes, unchanged.")] = False,
    config: ConfigOption = None,
    plain_http: PlainHttpOption = None,
    output: OutputOption = OutputFormat.TEXT,
    color: ColourOption = Colour.AUTO,
) -> None:
    """Show what an image is made of.

    Manifest, platforms, sizes, and what is attached to it: signatures, SBOMs, attestations. Without tag and digest
    it is the tag "latest".
    """
    from mirrord.oci.reference import Reference
    from mirrord.sync.inspect import fetch_root, inspect_image

    named = Reference.parse(reference)
    out = Output(colour=color)
    if raw:
        if output is OutputFormat.JSON:
            raise UsageError("--raw prints the manifest alone", remedy="leave out --raw or --output json")

        async def fetch(app: App) -> AnyManifest:
            return await fetch_root(app.context, named)

        out.binary(reach(fetch, config=config, plain_http=plain_http).raw)
        return

    async def look(app: App) -> Inspection:
        return await inspect_image(app.context, named)

    found = reach(look, config=config, plain_http=plain_http)
    if output is OutputFormat.JSON:
        from mirrord.cli.inspectjson import inspection_json

        out.json(inspection_json(found))
    else:
        from mirrord.cli.inspecttext import inspection_lines

        out.text(*inspection_lines(found))
