"""What a run of `sync --once` leaves behind beside its result: report files, metrics, what GitHub Actions shows."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from mirrord.cli.failures import as_error, as_json, complain, exit_code_of, explain, unwrap
from mirrord.cli.reportfiles import ReportFile, ReportKind, check_writable, parse_reports, write_file
from mirrord.errors import ConfigError, MirrordError

if TYPE_CHECKING:
    from mirrord.config.loader import Config
    from mirrord.planning.report import Problem, RunReport
    from mirrord.planning.rule import Rule
    from mirrord.ports.events import EventSink
    from mirrord.telemetry.metrics import Metrics

NO_RULE = "mirrord"
"""Stands in reports for what ended a run as a whole."""

OVERLAP = "STATE_LOCKED"
"""The code of a run that found another process with its state."""


class Handover:
    """Writes what was asked for at the end of a run, however it ends.

    What cannot be written is told on stderr. A report makes an exit code of 0 a 1; nothing else changes one: a mirror
    that worked does not fail a pipeline for its metrics.
    """

    def __init__(
        self,
        reports: Sequence[str],
        *,
        config: str | None,
        textfile: str | None = None,
        pushgateway: str | None = None,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        """Check what was asked for, before anything is attempted.

        Args:
            reports: the values of ``--report``.
            config: the configuration file as it was given; None: there is none.
            textfile: the file of ``--metrics-textfile``.
            pushgateway: the address of ``--pushgateway``.
            environment: the process's environment.

        Raises:
            UsageError: a report is not well named, a directory cannot be written to, or the address is none.
        """
        self._reports: tuple[ReportFile, ...] = parse_reports(reports)
        for report in self._reports:
            check_writable(report.path, f"--report {report.kind}", config=config)
        if textfile is not None:
            check_writable(textfile, "--metrics-textfile", config=config)
        if pushgateway is not None:
            from mirrord.telemetry.pushgateway import check_address

            check_address(pushgateway)
        self._textfile = textfile
        self._pushgateway = pushgateway
        self._environment = environment
        self._metrics: Metrics | None = None
        self._config: Config | None = None
        self._rules: Sequence[Rule] = ()
        self._started = datetime.now(UTC)
        self._written = False

    def rules_are(self, rules: Sequence[Rule], config: Config) -> None:
        """Know the rules of the run, and the configuration on whose lines annotations are."""
        self._rules, self._config = rules, config
        if self._textfile is not None or self._pushgateway is not None:
            from mirrord.telemetry.metrics import Metrics

            self._metrics = Metrics()
            self._metrics.know(rules)

    def listening(self, events: EventSink) -> EventSink:
        """Return what hands events on to ``events``, and to the metrics where they were asked for."""
        from mirrord.ports.events import Sinks

        return events if self._metrics is None else Sinks(events, self._metrics)

    def write_reports(self, report: RunReport, exit_code: int) -> int:
        """Write the files, and return the exit code that the run has with them."""
        self._written = True
        return self._write(report, exit_code, None)

    def announce(self, report: RunReport, exit_code: int) -> None:
        """Tell GitHub Actions of a run, and deliver its metrics."""
        from mirrord.cli.github import annotate, annotations_of, in_actions

        if in_actions(self._environment) and self._config is not None:
            annotate(annotations_of(report, self._config.file, self._config.places, self._environment))
        self._sum_up(report, exit_code)
        self._deliver_metrics(report)

    def failed(self, error: BaseException) -> None:
        """Write the files of a run that could not begin: one of an earlier run must not be taken for it."""
        if self._written:
            return
        error = unwrap(error)
        shown, exit_code = as_error(error), exit_code_of(error)
        report = report_of_failure(shown, self._started)
        self._write(report, exit_code, shown)
        self._sum_up(report, exit_code)  # the error is annotated where it is told
        if shown.code == OVERLAP:
            return  # the run that goes on delivers its own; ours would tell of failures of rules that nobody tried
        failed = [replace(report.rules[0], rule=rule.name, by_hand=False) for rule in self._rules]
        self._deliver_metrics(replace(report, rules=tuple(failed)))

    def _sum_up(self, report: RunReport, exit_code: int) -> None:
        from mirrord.cli.github import add_outputs, add_summary, in_actions

        if in_actions(self._environment):
            add_summary(report, exit_code, self._environment)
            add_outputs(report, exit_code, self._environment)

    def _deliver_metrics(self, report: RunReport) -> None:
        """Write and push the metrics, where the rules are known that they are of."""
        if self._metrics is None:
            return
        from mirrord.telemetry.pushgateway import push
        from mirrord.telemetry.textfile import write_textfile

        self._metrics.take_report(report, self._rules)
        try:
            if self._textfile is not None:
                write_textfile(self._textfile, self._metrics)
        except MirrordError as exc:
            complain(f"warning: {exc}")
        try:
            if self._pushgateway is not None:
                push(self._pushgateway, self._metrics, environment=self._environment)
        except MirrordError as exc:
            complain(f"warning: {exc}")

    def _write(self, report: RunReport, exit_code: int, error: MirrordError | None) -> int:
        code = exit_code
        for wanted in self._reports:
            try:
                write_file(wanted.path, _render(wanted.kind, report, exit_code, error))
            except MirrordError as exc:
                complain(explain(exc))
                code = code or exit_code_of(exc)
        return code


def report_of_failure(error: MirrordError, started: datetime) -> RunReport:
    """Return the report of a run that could not begin."""
    from mirrord.planning.report import RuleReport, RunReport

    return RunReport(
        started=started,
        finished=datetime.now(UTC),
        dry_run=False,
        rules=(RuleReport(rule=NO_RULE, problems=tuple(problems_of(error)), by_hand=True),),
    )


def problems_of(error: MirrordError) -> list[Problem]:
    """Return what an error says, as problems of a report."""
    from mirrord.planning.report import Problem

    if isinstance(error, ConfigError):
        return [Problem(code=problem.code, message=str(problem)) for problem in error.problems]
    return [Problem.of(error)]


def _render(kind: ReportKind, report: RunReport, exit_code: int, error: MirrordError | None) -> str:
    if kind is ReportKind.JUNIT:
        from mirrord.cli.junit import junit_text

        return junit_text(report, exit_code)
    if kind is ReportKind.MARKDOWN:
        from mirrord.cli.markdown import markdown_text

        return markdown_text(report, exit_code)
    from mirrord.cli.output import json_text
    from mirrord.cli.runjson import run_json

    if error is not None:
        return json_text({"error": as_json(error), "exit_code": exit_code})
    return json_text(run_json(report, exit_code))
