"""`mirrord sync`: carries out the rules of a configuration file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from mirrord.cli.failures import InterruptedRunError, as_error, complain, explain
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
from mirrord.cli.output import Output
from mirrord.cli.selection import select_rules
from mirrord.cli.session import load, run_async
from mirrord.errors import UsageError

if TYPE_CHECKING:
    from mirrord.app import App
    from mirrord.planning.report import RunReport
    from mirrord.planning.rule import Rule
    from mirrord.sync.run import Run

INTERRUPTED = "interrupted"


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
    """Mirror what the rules of a configuration file say."""
    if dry_run and not once:
        raise UsageError("--dry-run cannot be used without --once", code="USAGE_CONFLICT", remedy="add --once")
    if not once:
        raise UsageError(
            "running as a service is not part of this release yet",
            remedy="add --once to carry out every rule once, and let cron or a timer repeat it",
        )
    if dry_run:
        from mirrord.cli.plan import dry_run as show_plan

        return show_plan(config, rule, output=output, progress=not no_progress, color=color, everything=verbose)
    return _sync_once(config, rule, output=output, no_progress=no_progress, out=Output(colour=color), color=color)


def _sync_once(
    config_path: str | None,
    names: Sequence[str] | None,
    *,
    output: RunOutput,
    no_progress: bool,
    out: Output,
    color: Colour,
) -> int:
    """Carry out the rules once; return the exit code."""
    from mirrord.cli.preflight import check_registries
    from mirrord.cli.progress import make_progress
    from mirrord.cli.stream import ImageStream
    from mirrord.config.secrets import ConfiguredSecrets
    from mirrord.planning.report import EXIT_FAILED

    config = load(config_path)
    rules = select_rules(config.rules, names)
    progress = make_progress(wanted=not no_progress, colour=color, environment=os.environ)
    stream = ImageStream(out, progress) if output is RunOutput.NDJSON else None
    execution = _Execution(rules)

    async def body(app: App) -> None:
        await check_registries(app, rules, ConfiguredSecrets(os.environ))
        await execution.carry_out(app)

    forced: int | None = None
    try:
        with progress:
            run_async(body, config=config, events=stream or progress)
    except InterruptedRunError as exc:
        forced = exc.exit_code
    except Exception as exc:
        if not execution.begun:
            raise
        complain(explain(as_error(exc)))
        forced = EXIT_FAILED
    report = execution.report(interrupted=forced is not None)
    code = execution.exit_code() if forced is None else forced
    _write(report, code, output, out)
    if stream is not None and stream.failure is not None:
        raise stream.failure
    return code


def _write(report: RunReport, code: int, output: RunOutput, out: Output) -> None:
    from mirrord.cli.runjson import run_json, summary_json

    if output is RunOutput.JSON:
        out.json(run_json(report, code))
    elif output is RunOutput.NDJSON:
        out.json_line({"type": "summary", **summary_json(report, code)})
    else:
        from mirrord.cli.runreport import run_lines

        out.text(*run_lines(report))


class _Execution:
    """One run of rules, of which a report can be made however it ends."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = rules
        self._started = datetime.now(UTC)
        self._app: App | None = None
        self._run: Run | None = None

    @property
    def begun(self) -> bool:
        """Whether any work was done that a report has to tell of."""
        return self._run is not None

    async def carry_out(self, app: App) -> None:
        """Carry out the rules."""
        from mirrord.sync.run import Run

        self._app = app
        self._run = Run(app.context, self._rules)
        await self._run.carry_out(app.executor())

    def report(self, *, interrupted: bool) -> RunReport:
        """Return the report; what an interruption left undone counts as skipped."""
        from mirrord.planning.report import RuleReport, RunReport, TrafficReport

        if self._run is not None and interrupted:
            self._run.conclude(INTERRUPTED)
        rules = [run.report() for run in self._run.rules] if self._run is not None else []
        return RunReport(
            started=self._started,
            finished=datetime.now(UTC),
            dry_run=False,
            rules=tuple(rules or [RuleReport(rule=rule.name) for rule in self._rules]),
            traffic=self._app.cost() if self._app is not None else TrafficReport(),
            interrupted=interrupted,
        )

    def exit_code(self) -> int:
        """Return the exit code of a run that came to its end."""
        from mirrord.cli.verdict import run_exit_code

        return run_exit_code([run.report() for run in self._run.rules] if self._run is not None else [])
