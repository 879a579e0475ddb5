"""`mirrord plan`: what would be done and why."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from mirrord.cli.options import (
    Colour,
    ColourOption,
    ConfigOption,
    NoProgressOption,
    OutputFormat,
    OutputOption,
    RulesOption,
    RunOutput,
    VerboseOption,
)
from mirrord.cli.output import Output
from mirrord.cli.selection import select_rules
from mirrord.cli.session import load, run_async

if TYPE_CHECKING:
    from mirrord.app import App
    from mirrord.cli.planreport import PlanReport
    from mirrord.planning.rule import Rule


def plan(
    *,
    config: ConfigOption = None,
    rule: RulesOption = None,
    detailed_exitcode: Annotated[
        bool, typer.Option("--detailed-exitcode", help="Exit with 0: no change, 2: changes, 1: error.")
    ] = False,
    all_images: Annotated[bool, typer.Option("--all", help="List the images that are in sync too.")] = False,
    output: OutputOption = OutputFormat.TEXT,
    no_progress: NoProgressOption = False,
    color: ColourOption = Colour.AUTO,
    verbose: VerboseOption = False,
) -> int:
    """Show what sync would do, and why; changes nothing."""
    from mirrord.cli.verdict import plan_exit_code

    report = make_plan(config, rule, progress=not no_progress, color=color, notes=verbose)
    code = plan_exit_code(report.rules, report.changed_tags, detailed=detailed_exitcode)
    write_plan(report, code, RunOutput(output.value), everything=all_images or verbose, out=Output(colour=color))
    return code


def dry_run(
    config_path: str | None,
    names: Sequence[str] | None,
    *,
    output: RunOutput,
    progress: bool,
    color: Colour,
    everything: bool,
) -> int:
    """Show the plan of `sync --once`, and return the exit code that its failures and refusals would have."""
    from mirrord.cli.verdict import run_exit_code

    report = make_plan(config_path, names, progress=progress, color=color, notes=everything)
    code = run_exit_code(report.rules, changes=report.changed_tags)
    write_plan(report, code, output, everything=everything, out=Output(colour=color))
    return code


def make_plan(
    config_path: str | None, names: Sequence[str] | None, *, progress: bool, color: Colour, notes: bool = False
) -> PlanReport:
    """Look at sources and targets, and return what would be done.

    What is remembered is used as the run would, where a state store is named; a service may have it open.
    """
    from mirrord.app.preflight import check_registries
    from mirrord.cli.execution import state_url
    from mirrord.cli.notes import Notes
    from mirrord.cli.planreport import PlanReport
    from mirrord.cli.progress import make_progress
    from mirrord.config.secrets import ConfiguredSecrets
    from mirrord.sync.estimating import forecast
    from mirrord.sync.run import Run

    config = load(config_path)
    state = state_url(os.environ)
    rules: list[Rule] = select_rules(config.rules, names)
    display = Notes(make_progress(wanted=progress, colour=color, environment=os.environ), everything=notes)

    async def body(app: App) -> PlanReport:
        await check_registries(app, rules, ConfiguredSecrets(os.environ))
        run = Run(app.context, rules)
        found = await forecast(app.context, run)
        return PlanReport(rules=tuple(one.report() for one in run.rules), forecast=found, traffic=app.cost())

    with display:
        return run_async(body, config=config, events=display, state=state, read_only=True)


def write_plan(report: PlanReport, code: int, output: RunOutput, *, everything: bool, out: Output) -> None:
    """Write a plan to stdout."""
    from mirrord.cli.planreport import change_json, plan_json, plan_lines, plan_summary_json
    from mirrord.cli.runjson import result_json

    if output is RunOutput.JSON:
        out.json(plan_json(report, code))
    elif output is RunOutput.NDJSON:
        for change in report.forecast.changes:
            out.json_line({"type": "change", **change_json(change)})
        for rule in report.rules:
            for result in rule.results:
                out.json_line({"type": "image", **result_json(result)})
        out.json_line({"type": "summary", **plan_summary_json(report, code)})
    else:
        out.text(*plan_lines(report, everything=everything))
