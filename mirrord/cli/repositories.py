"""`mirrord repositories`: the repositories of a registry or namespace."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mirrord.cli.failures import complain
from mirrord.cli.options import Colour, ColourOption, ConfigOption, OutputFormat, OutputOption
from mirrord.cli.output import Output
from mirrord.cli.reach import PlainHttpOption, reach
from mirrord.errors import UnsupportedError, UsageError, quote

if TYPE_CHECKING:
    from mirrord.app import App


def repositories(
    place: Annotated[str, typer.Argument(metavar="HOST[/PATH]", help="The registry, or a namespace of it.")],
    *,
    config: ConfigOption = None,
    plain_http: PlainHttpOption = None,
    output: OutputOption = OutputFormat.TEXT,
    color: ColourOption = Colour.AUTO,
) -> None:
    """List the repositories of a registry or namespace."""
    host, path = parse_place(place)

    async def listed(app: App, prefix: str) -> list[str]:
        found = app.context.gateway.repositories(host, prefix)
        return sorted([repository.path async for repository in found if is_below(repository.path, path)])

    async def body(app: App) -> list[str]:
        try:
            return await listed(app, path)
        except UnsupportedError:
            if not path or "/" in path:
                raise
            return await listed(app, f"{path}/")  # some registries list a whole namespace, and no beginnings of one

    paths = reach(body, config=config, plain_http=plain_http)
    out = Output(colour=color)
    if output is OutputFormat.JSON:
        out.json({"registry": host, "path": path, "repositories": paths})
    else:
        out.text(*(f"{host}/{found}" for found in paths))
        if not paths:
            complain(f"no repositories: {quote(place)} has none, or does not show them to this credential")


def parse_place(place: str) -> tuple[str, str]:
    """Return the registry and the path that ``HOST[/PATH]`` names.

    Raises:
        UsageError: the first part is no registry but, as in references, a path of Docker Hub.
        InvalidReferenceError: one of the parts is not valid.
    """
    from mirrord.oci.reference import looks_like_host, parse_host, parse_repository_path

    first, _, rest = place.partition("/")
    if not looks_like_host(first):
        raise UsageError(
            f'"{quote(first)}" is no registry: a registry has a dot or a port, or is localhost',
            remedy=f"write the registry first, ghcr.io/{quote(first)} for instance",
        )
    path = rest.removesuffix("/")
    return parse_host(first), parse_repository_path(path) if path else ""


def is_below(path: str, namespace: str) -> bool:
    """Say whether a repository is the namespace itself or below it; everything is below the empty one."""
    return not namespace or path == namespace or path.startswith(f"{namespace}/")
