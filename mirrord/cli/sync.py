"""`mirrord sync`: carries out the rules of a configuration file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mirrord.cli.options import Colour, ColourOption, ConfigOption, NoProgressOption, RulesOption, RunOutput
from mirrord.cli.options import RunOutputOption as OutputOption
from mirrord.cli.output import Output
from mirrord.cli.session import load, run_async
from mirrord.errors import UsageError

if TYPE_CHECKING:
    from mirrord.app import App


def sync(
    *,
    config: ConfigOption = None,
    once: Annotated[bool, typer.Option("--once", help="Carry out every rule once, then exit.")] = False,
    rule: RulesOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="With --once: show what would be done.")] = False,
    output: OutputOption = RunOutput.TEXT,
    no_progress: NoProgressOption = False,
    color: ColourOption = Colour.AUTO,
) -> int:
    """Mirror what the rules of a configuration file say."""
    if not once:
        raise UsageError("the service is not in this release yet", remedy="use --once")
    from mirrord.planning.report import exit_code
    from mirrord.sync.run import Run

    del rule, dry_run, output, no_progress
    configuration = load(config)

    async def body(app: App) -> Run:
        run = Run(app.context, configuration.rules)
        await run.carry_out(app.executor())
        return run

    run = run_async(body, config=configuration)
    reports = [rule.report() for rule in run.rules]
    out = Output(colour=color)
    for report in reports:
        out.text(f"{report.rule}: {report.listed} listed, {len(report.results)} results")
    return exit_code(reports)
