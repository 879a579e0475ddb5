"""`mirrord auth`: which credential each registry would get, whether it is accepted, and what it may do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from mirrord.cli.options import Colour, ColourOption, ConfigOption, OutputFormat, OutputOption
from mirrord.cli.output import Output
from mirrord.cli.session import load, run_async
from mirrord.planning.report import EXIT_FAILED, EXIT_STARTUP

if TYPE_CHECKING:
    from mirrord.app import App
    from mirrord.sync.access import RegistryAccess

auth = typer.Typer(
    help="Check credentials.", rich_markup_mode=None, pretty_exceptions_enable=False, no_args_is_help=True
)


@auth.callback()
def _auth() -> None:
    """Check credentials."""


@auth.command(short_help="Say which credential each registry gets, and if it works.")
def check(
    *,
    config: ConfigOption = None,
    push: Annotated[
        bool, typer.Option("--push", help="Prove the right to push: begin an upload to each target, and cancel it.")
    ] = False,
    output: OutputOption = OutputFormat.TEXT,
    color: ColourOption = Colour.AUTO,
) -> int:
    """Say which credential each registry would get, whether it is accepted, and what it may do.

    Changes nothing. Some registries create a repository when an upload begins; only --push does that.
    """
    from mirrord.cli.accesstext import access_json, access_lines
    from mirrord.registry.access import HttpAccess
    from mirrord.sync.access import check_access

    loaded = load(config)

    async def body(app: App) -> tuple[RegistryAccess, ...]:
        return await check_access(
            app.context,
            HttpAccess(app.registries),
            app.credentials,
            loaded.registries,
            loaded.rules,
            try_push=push,
        )

    found = run_async(body, config=loaded)
    out = Output(colour=color)
    code = access_exit_code(found)
    if output is OutputFormat.JSON:
        out.json(access_json(found, code))
    else:
        out.text(*access_lines(found))
    return code


def access_exit_code(found: Sequence[RegistryAccess]) -> int:
    """Return 0 if all is well, 3 if no registry can be used, else 1."""
    if not any(registry.problems for registry in found):
        return 0
    return EXIT_FAILED if any(registry.is_usable for registry in found) else EXIT_STARTUP
