"""Carries out rules once, with progress on stderr and the report on stdout."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from mirrord.cli.failures import InterruptedRunError, as_error, complain, explain, unwrap
from mirrord.cli.handover import NO_RULE, Handover
from mirrord.cli.options import Colour, RunOutput
from mirrord.cli.output import Output
from mirrord.cli.session import run_async
from mirrord.errors import MirrordError

if TYPE_CHECKING:
    from mirrord.app import App
    from mirrord.cli.progress import Progress
    from mirrord.planning.report import RunReport
    from mirrord.planning.rule import Rule
    from mirrord.ports.events import EventSink
    from mirrord.ports.settings import RegistrySettings
    from mirrord.sync.run import Run


def execute(
    rules: Sequence[Rule],
    settings: Mapping[str, RegistrySettings],
    *,
    output: RunOutput,
    progress: bool,
    color: Colour,
    notes: bool = False,
    handover: Handover | None = None,
    remembers: bool = True,
) -> int:
    """Carry out rules once; return the exit code.

    Args:
        rules: what to mirror.
        settings: what is set for registries, by host.
        output: how the report is written.
        progress: whether to show progress.
        color: when to use colours.
        notes: whether to tell on stderr what mirrord coped with.
        handover: writes what was asked for beside the result.
        remembers: whether the state store is used that the environment names, which one process may have at a time.

    Raises:
        StartupError: a secret or certificate cannot be used; nothing was attempted.
        UsageError: neither can a provider or proxy.
    """
    from mirrord.cli.progress import make_progress
    from mirrord.cli.stream import ImageStream

    out = Output(colour=color)
    shown = make_progress(wanted=progress, colour=color, environment=os.environ, notes=notes)
    stream = ImageStream(out, shown) if output is RunOutput.NDJSON else None
    events: EventSink = stream or shown
    if handover is not None:
        events = handover.listening(events)
    state = state_url(os.environ) if remembers else None
    report, code = run_rules(rules, settings, progress=shown, events=events, state=state)
    if handover is not None:
        code = handover.write_reports(report, code)
    try:
        _write(report, code, output, out)
    finally:
        if handover is not None:
            handover.announce(report, code)
    if stream is not None and stream.failure is not None:
        raise stream.failure
    return code


def run_rules(
    rules: Sequence[Rule],
    settings: Mapping[str, RegistrySettings],
    *,
    progress: Progress,
    events: EventSink,
    state: str | None = None,
) -> tuple[RunReport, int]:
    """Carry out rules once while ``progress`` is shown; return the report and the exit code, also of a broken run.

    ``state`` is the URL of the state store; with None nothing is remembered.

    Raises:
        StartupError: a secret or certificate cannot be used; nothing was attempted.
        UsageError: neither can a provider or proxy.
    """
    from mirrord.app.preflight import check_registries
    from mirrord.config.secrets import ConfiguredSecrets
    from mirrord.planning.report import EXIT_FAILED

    execution = _Execution(rules)

    async def body(app: App) -> None:
        await check_registries(app, rules, ConfiguredSecrets(os.environ))
        await execution.carry_out(app)

    forced: int | None = None
    try:
        with progress:
            run_async(body, settings=settings, events=events, state=state)
    except InterruptedRunError as exc:
        forced = exc.exit_code
    except Exception as exc:
        if not execution.begun:
            raise
        error = as_error(unwrap(exc))
        execution.broke(error)
        complain(explain(error))
        forced = EXIT_FAILED
    report = execution.report(interrupted=forced is not None)
    return report, execution.exit_code() if forced is None else forced


def state_url(environment: Mapping[str, str]) -> str | None:
    """Return the URL of the state store that a single run uses: only where one was named.

    Raises:
        ConfigError: it is no URL of one.
    """
    if not environment.get("MIRRORD_STATE"):
        return None
    from mirrord.config.process import load_process_settings

    return load_process_settings(environment).state


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
        self._broken: MirrordError | None = None

    @property
    def begun(self) -> bool:
        """Whether any work was done that a report has to tell of."""
        return self._run is not None

    async def carry_out(self, app: App) -> None:
        """Carry out the rules, and write down what came of it where there is a history."""
        from mirrord.cli.grouping import INTERRUPTED
        from mirrord.sync.run import Run

        self._app = app
        self._run = Run(app.context, self._rules)
        interrupted = True
        try:
            await self._run.carry_out(app.executor())
            interrupted = False
        finally:
            if interrupted:
                self._run.conclude(INTERRUPTED)
            if app.history is not None:
                from mirrord.sync.written import write_down

                await write_down(app.history, app.context, self._run, self._started, interrupted=interrupted)

    def broke(self, error: MirrordError) -> None:
        """Know what ended the run before its end."""
        self._broken = error

    def report(self, *, interrupted: bool) -> RunReport:
        """Return the report; what an interruption left undone counts as skipped."""
        from mirrord.cli.grouping import INTERRUPTED
        from mirrord.planning.report import Problem, RuleReport, RunReport, TrafficReport

        if self._run is not None and interrupted:
            self._run.conclude(INTERRUPTED)
        rules = [run.report() for run in self._run.rules] if self._run is not None else []
        if self._broken is not None:
            rules.append(RuleReport(rule=NO_RULE, problems=(Problem.of(self._broken),), by_hand=True))
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
