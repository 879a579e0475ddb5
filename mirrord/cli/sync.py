"""`mirrord sync`: carries out the rules of a configuration file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import typer

from mirrord.cli.execution import execute
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
    no_progress: NoProgressOption = False,
    color: ColourOption = Colour.AUTO,
    verbose: VerboseOption = False,
) -> int:
    """Mirror what the rules of a configuration file say: as a service, by their schedules, or once."""
    if not once:
        from mirrord.cli.serve import run_service

        _refuse_without_once({"--dry-run": dry_run, "--rule": bool(rule), "--output": output is not RunOutput.TEXT})
        return run_service(config)
    if dry_run:
        from mirrord.cli.plan import dry_run as show_plan

        return show_plan(config, rule, output=output, progress=not no_progress, color=color, everything=verbose)
    loaded = load(config)
    rules = select_rules(loaded.rules, rule)
    return execute(rules, loaded.registries, output=output, progress=not no_progress, color=color, notes=verbose)


def _refuse_without_once(options: Mapping[str, bool]) -> None:
    """Refuse options that only a single run has."""
    for option, is_given in options.items():
        if is_given:
            raise UsageError(f"{option} cannot be used without --once", code="USAGE_CONFLICT", remedy="add --once")
