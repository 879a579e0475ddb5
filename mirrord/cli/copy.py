"""`mirrord copy`: one image, now."""

from __future__ import annotations

from typing import Annotated

import typer

from mirrord.cli.execution import execute
from mirrord.cli.options import (
    Colour,
    ColourOption,
    ConfigOption,
    NoProgressOption,
    RunOutput,
    RunOutputOption,
    VerboseOption,
)
from mirrord.cli.reach import PlainHttpOption, registry_settings


def copy(
    source: Annotated[
        str, typer.Argument(help="The image, [host[:port]/]path[:tag][@digest], or oci:DIRECTORY[:tag].")
    ],
    target: Annotated[str, typer.Argument(help="Where it goes; without a tag it keeps that of the source.")],
    *,
    platform: Annotated[
        list[str] | None,
        typer.Option(help="Of an index only this one, linux/arm64; may be given several times.", show_default=False),
    ] = None,
    no_referrers: Annotated[
        bool, typer.Option("--no-referrers", help="Leave signatures, SBOMs and attestations behind.")
    ] = False,
    config: ConfigOption = None,
    plain_http: PlainHttpOption = None,
    output: RunOutputOption = RunOutput.TEXT,
    no_progress: NoProgressOption = False,
    color: ColourOption = Colour.AUTO,
    verbose: VerboseOption = False,
) -> int:
    """Copy one image, with all that is attached to it.

    The same work as one rule of `sync`: all platforms byte for byte, blobs that the target has are not sent again, the
    tag last. Without tag and digest SOURCE is the tag "latest".
    """
    from mirrord.oci.platform import Platform
    from mirrord.oci.reference import Reference
    from mirrord.planning.target import TargetTemplate
    from mirrord.sync.copy import image_rule

    rule = image_rule(
        Reference.parse(source),
        TargetTemplate.parse(target),
        platforms=[Platform.parse(text) for text in platform or ()],
        referrers=not no_referrers,
    )
    settings = registry_settings(config, plain_http)
    return execute(
        [rule], settings, output=output, progress=not no_progress, color=color, notes=verbose, remembers=False
    )
