"""`mirrord sync`: carries out the rules of a configuration file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import typer

from mirrord.cli.execution import execute
from mirrord.cli.handover import Handover
from mirrord.cli.options import (
    Colour,
    ColourOption,
    ConfigOption,
    NoProgressOption,
    RulesOption,
    RunOutput,
    RunOutputOption,
    VerboseOption,
)
from mirrord.cli.selection import select_rules
from mirrord.cli.session import load
from mirrord.errors import UsageError


def sync(
    *,
    config: ConfigOption = None,
    once: Annotated[bool, typer.Option("--once", help="Carry out every rule once, then exit.")] = False,
    rule: RulesOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="With --once: show what would be done, and change nothing.")
    ] = False,
    output: RunOutputOption = RunOutput.TEXT,
    report: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KIND=FILE",
            help="With --once: write a report to a file too: junit, markdown or json; may be given several times.",
            show_default=False,
        ),
    ] = None,
    metrics_textfile: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="With --once: write metrics for the textfile collector of node_exporter."),
    ] = None,
    pushgateway: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="With --once: send metrics to a Prometheus Pushgateway; URL/metrics/job/NAME/... too."
        ),
    ] = None,
    no_progress: NoProgressOption = False,
    color: ColourOption = Colour.AUTO,
    verbose: VerboseOption = False,
) -> int:
    """Mirror what the rules of a configuration file say: as a service, by their schedules, or once."""
    needy = {
        "--dry-run": dry_run,
        "--report": bool(report),
        "--metrics-textfile": metrics_textfile is not None,
        "--pushgateway": pushgateway is not None,
    }
    _check_once(once=once, dry_run=dry_run, needy=needy)
    if not once:
        from mirrord.cli.serve import run_service

        _check_once(once=False, dry_run=False, needy={"--rule": bool(rule), "--output": output is not RunOutput.TEXT})
        return run_service(config)
    if dry_run:
        from mirrord.cli.plan import dry_run as show_plan

        return show_plan(config, rule, output=output, progress=not no_progress, color=color, everything=verbose)
    handover = Handover(report or (), config=config, textfile=metrics_textfile, pushgateway=pushgateway)
    try:
        loaded = load(config)
        rules = select_rules(loaded.rules, rule)
        handover.rules_are(rules, loaded)
        return execute(
            rules,
            loaded.registries,
            output=output,
            progress=not no_progress,
            color=color,
            notes=verbose,
            handover=handover,
        )
    except Exception as exc:
        handover.failed(exc)
        raise


def _check_once(*, once: bool, dry_run: bool, needy: Mapping[str, bool]) -> None:
    """See that options go together.

    Args:
        once: whether the rules are carried out once.
        dry_run: whether nothing is changed.
        needy: options that need --once, and whether they were given.

    Raises:
        UsageError: they do not.
    """
    for option, given in needy.items():
        if given and not once:
            raise UsageError(f"{option} cannot be used without --once", code="USAGE_CONFLICT", remedy="add --once")
        if given and dry_run and option != "--dry-run":
            raise UsageError(
                f"{option} cannot be used with --dry-run: it tells of a run",
                code="USAGE_CONFLICT",
                remedy="leave one of them out; --output json writes the plan as JSON",
            )
