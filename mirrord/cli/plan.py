"""`mirrord plan`: what would be done and why."""

from __future__ import annotations

from typing import Annotated

import typer

from mirrord.cli.options import ConfigOption, OutputFormat, OutputOption, RulesOption


def plan(
    *,
    config: ConfigOption = None,
    rule: RulesOption = None,
    detailed_exitcode: Annotated[
        bool, typer.Option("--detailed-exitcode", help="Exit with 0: no change, 2: changes, 1: error.")
    ] = False,
    output: OutputOption = OutputFormat.TEXT,
) -> int:
    """Show what sync would do, and why; changes nothing."""
    del config, rule, detailed_exitcode, output
    return 0
