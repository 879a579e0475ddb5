"""The service as one process: state, schedules, runs, HTTP, reload and signals, begun and ended in order.

It ends in this order: no run begins any more; images on their way are finished, for as long as the drain timeout lets
them; what is left is cancelled, which cancels its uploads; then connections are closed, and the state store last.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TextIO

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup, TaskStatus

from mirrord import __version__
from mirrord.app.footprint import give_back, keep_small, memory_limit
from mirrord.app.orphans import reaper_for
from mirrord.app.parts import Network, SystemClock
from mirrord.app.reload import Reloader, watched
from mirrord.config.process import ProcessSettings, require_api_token
from mirrord.config.watch import Marks, marks_of, watch_files
from mirrord.errors import MirrordError, StateError
from mirrord.jobs.alarm import Alarm
from mirrord.jobs.moments import intervals_of
from mirrord.planning.rule import Rule
from mirrord.planning.status import Cause, ConfigStatus
from mirrord.ports.clock import Clock
from mirrord.ports.events import Event, EventSink, ServiceStarted, ServiceStopped, ServiceStopping, Sinks, StateChanged
from mirrord.state import SqlState, open_state
from mirrord.sync.board import Board
from mirrord.sync.livehistory import LiveHistory
from mirrord.sync.meter import Metered
from mirrord.sync.service import Service
from mirrord.sync.view import View
from mirrord.telemetry.logs import open_log
from mirrord.telemetry.metrics import Metrics
from mirrord.web import create_app, serve_http

_log = logging.getLogger("mirrord.service")

TICK_S = 1.0
"""How often the service looks after itself."""

COUNT_EVERY_S = 2.0
QUOTAS_EVERY_S = 30.0
SAVED_EVERY_S = 300.0
TRIM_EVERY_S = 3600.0
CHECK_EVERY_S = 5.0
REAP_EVERY_S = 5.0
IDLE_EVERY_S = 60.0
"""How often memory is given back, while no rule runs."""

CHORE_DEADLINE_S = 60.0
"""How long one of these may take; the next ones wait for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """How a service is to run.

    Attributes:
        config: the configuration file.
        settings: those of the process.
        environment: its variables.
        stream: where log lines go.
        network: how registries are reached.
        events: who listens beside log and metrics; None: nobody.
        on_ready: told the address of the page once it can be reached.
        handles_signals: whether signals end and steer it; else cancelling does.
    """

    config: str
    settings: ProcessSettings
    environment: Mapping[str, str]
    stream: TextIO
    network: Network = field(default_factory=Network)
    events: EventSink | None = None
    on_ready: Callable[[str], None] = lambda _url: None
    handles_signals: bool = True


async def serve(serving: Serving) -> int:
    """Run the service until a signal ends it; return that signal's number, 0 if none came.

    Raises:
        ConfigError: the configuration or the settings of the process are not valid.
        StartupError: the state store, a secret or the address to listen on cannot be used.
    """
    settings = serving.settings
    require_api_token(settings)
    keep_small()
    clock = SystemClock()
    metrics = Metrics()
    log = open_log(
        settings.log_level, _log_format(settings, serving.stream), serving.stream, environment=serving.environment
    )
    hub = Sinks(metrics, log, on_fault=_tell_of_fault)
    if serving.events is not None:
        hub.add(serving.events)
    try:
        with log.listen():
            async with open_state(settings.state, clock=clock, events=hub) as state:
                board = Board(clock, state.history)
                hub.add(board)
                return await _Process(serving, clock, hub, state, board, metrics).run()
    finally:
        log.close()


def _tell_of_fault(sink: EventSink, event: Event) -> None:
    _log.exception("%s could not take %s", type(sink).__name__, type(event).__name__)


def _log_format(settings: ProcessSettings, stream: TextIO) -> Literal["console", "json"]:
    """Return what was set, else lines for people on a terminal and JSON for everything else."""
    if settings.log_format is not None:
        return settings.log_format.value
    return "console" if stream.isatty() else "json"


@dataclass(slots=True)
class _Chore:
    """Something that is done now and then; ``due`` is when next, in monotonic seconds."""

    name: str
    every_s: float
    work: Callable[[], Awaitable[None]]
    due: float = 0.0


def _in_a_moment(work: Callable[[], object]) -> Callable[[], Awaitable[None]]:
    """Return work that is done at once as a chore."""

    async def chore() -> None:
        work()

    return chore


class _Process:
    """What goes on in the process of a service."""

    def __init__(  # noqa: PLR0917 - the parts, in the order in which they are made
        self, serving: Serving, clock: Clock, hub: Sinks, state: SqlState, board: Board, metrics: Metrics
    ) -> None:
        self._serving = serving
        self._clock = clock
        self._hub = hub
        self._state = state
        self._board = board
        self._metrics = metrics
        self._timetable = Alarm(clock)
        self._service = Service(clock=clock, events=hub, history=state.history, timetable=self._timetable, board=board)
        loading = ConfigStatus(file=serving.config, loaded_at=clock.now())
        self._view = View(
            service=self._service, timetable=self._timetable, clock=clock, release=__version__, config=loading
        )
        self._runs = anyio.CancelScope()
        self._received: list[signal.Signals] = []

    async def run(self) -> int:
        """Begin everything, run until the service is drained, and end everything."""
        await self._board.load()
        self._metrics.watch(self._view, memory_limit)
        async with anyio.create_task_group() as group:
            reloader = Reloader(
                path=self._serving.config,
                environment=self._serving.environment,
                clock=self._clock,
                events=Metered(self._hub),
                memory=self._state.memory,
                group=group,
                adopt=self._service.adopt,
                settle=self._settle,
                report=self._view.configured,
                network=self._serving.network,
            )
            if self._serving.handles_signals:
                await group.start(self._obey, reloader, group)
            file = watched(self._serving.config)
            since = await anyio.to_thread.run_sync(marks_of, file) if file is not None else None
            await reloader.begin()
            url = await group.start(self._listen)
            rules = len(self._board.entries)
            self._hub.emit(ServiceStarted(url=url, rules=rules, version=__version__))
            self._serving.on_ready(url)
            await self._rest()
            if file is not None:
                group.start_soon(self._watch, reloader, file, since)
            group.start_soon(self._look_after_itself)
            with self._runs:
                await self._service.serve()
            self._hub.emit(ServiceStopped(interrupted=self._service.interrupted))
            group.cancel_scope.cancel()
        return self._received[0] if self._received else 0

    async def _settle(self, rules: Sequence[Rule]) -> None:
        """Forget what is known of rules that the file has no more, and count the images of those that it has."""
        self._metrics.know(rules, intervals_of(rules, self._clock.now()))
        names = [rule.name for rule in rules]
        await self._do("forget_rules", lambda: self._state.history.forget_rules(names))
        await self._do("refresh", self._board.refresh_all)

    async def _listen(self, *, task_status: TaskStatus[str] = anyio.TASK_STATUS_IGNORED) -> None:
        settings = self._serving.settings
        app = create_app(
            view=self._view,
            history=LiveHistory(self._state.history, lambda: self._service.running),
            metrics=self._metrics.expose,
            token_file=settings.api_token_file,
            is_loopback=settings.listen.is_loopback,
            clock=self._clock,
        )
        await serve_http(app, host=settings.listen.host, port=settings.listen.port, on_listening=task_status.started)

    async def _obey(
        self, reloader: Reloader, group: TaskGroup, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED
    ) -> None:
        """Do what signals say: end (once: finish what is on its way; twice: at once), reload, run all rules now."""
        wanted = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
        before = {number: signal.getsignal(number) for number in wanted}
        try:
            with anyio.open_signal_receiver(*wanted) as signals:
                task_status.started()
                async for number in signals:
                    self._take(number, reloader, group)
        finally:  # what came first holds again while the state is closed
            for number, handler in before.items():
                signal.signal(number, handler)

    def _take(self, number: signal.Signals, reloader: Reloader, group: TaskGroup) -> None:
        if number is signal.SIGHUP:
            group.start_soon(reloader.again)
        elif number is signal.SIGUSR1:
            for rule in self._board.entries:
                self._service.wake(rule, Cause.SIGNAL)
        else:
            self._end(number, group)

    def _end(self, number: signal.Signals, group: TaskGroup) -> None:
        self._received.append(number)
        if len(self._received) > 2:  # noqa: PLR2004 - whoever insists does not want to wait for connections either
            os._exit(128 + self._received[0])
        if len(self._received) > 1 or not self._service.is_serving:
            self._runs.cancel()
            if not self._service.is_serving:
                group.cancel_scope.cancel()
            return
        drain_s = self._serving.settings.drain_timeout.total_seconds()
        running = len(self._service.running)
        self._hub.emit(ServiceStopping(cause=number.name, running=running, drain_s=drain_s))
        self._service.drain()
        group.start_soon(self._cancel_after, drain_s)

    async def _cancel_after(self, seconds: float) -> None:
        await self._clock.sleep(seconds)
        self._runs.cancel()

    async def _watch(self, reloader: Reloader, file: Path, since: Marks | None) -> None:
        async def changed() -> None:
            await reloader.again()

        await watch_files(file, changed, extra=reloader.files, since=since)

    async def _look_after_itself(self) -> None:
        """Measure the event loop, keep counts up to date, and write down what changed, each at its own interval."""
        chores = (
            _Chore("count", COUNT_EVERY_S, self._count),
            _Chore("check_state", CHECK_EVERY_S, self._check_state),
            _Chore("save_quotas", QUOTAS_EVERY_S, self._board.save_quotas),
            _Chore("count_saved", SAVED_EVERY_S, self._board.count_saved),
            _Chore("trim", TRIM_EVERY_S, self._trim),
            _Chore("rest", IDLE_EVERY_S, self._rest),
            *([_Chore("reap", REAP_EVERY_S, _in_a_moment(reap))] if (reap := reaper_for(os.getpid())) else []),
        )
        begun = self._clock.monotonic()
        for chore in chores:
            chore.due = begun + chore.every_s
        while True:
            before = self._clock.monotonic()
            await self._clock.sleep(TICK_S)
            now = self._clock.monotonic()
            self._view.lag_s = max(0.0, now - before - TICK_S)
            for chore in chores:
                if now >= chore.due:
                    chore.due = now + chore.every_s
                    await self._do(chore.name, chore.work)

    async def _do(self, name: str, work: Callable[[], Awaitable[object]]) -> None:
        """Do something that the service can do without; what goes wrong is told, and ends nothing."""
        try:
            with anyio.fail_after(CHORE_DEADLINE_S):
                await work()
        except TimeoutError:
            self._state_failed(str(StateError(f"it did not answer within {CHORE_DEADLINE_S:.0f} s: {name}")))
        except MirrordError as exc:
            self._state_failed(str(exc))
        except Exception:  # noqa: BLE001 - it is told of with its place
            _log.exception("%s failed", name)

    def _state_failed(self, error: str) -> None:
        if self._board.state_error is None:
            self._hub.emit(StateChanged(error=error))
        self._board.state_failed(error)

    async def _count(self) -> None:
        for running in self._service.running:
            if running.meter.idle_s < COUNT_EVERY_S:
                await self._board.refresh(running.rule.name)
        if self._board.saved_is_old:
            await self._board.count_saved()

    async def _rest(self) -> None:
        if not self._service.running:
            await anyio.to_thread.run_sync(give_back)

    async def _check_state(self) -> None:
        """See whether a state store that could not be used can be again; one that works has only its file looked at."""
        failed = self._board.state_error is not None
        await self._state.history.check(whole=failed)  # tells that it works again, where the store itself had failed
        if failed and self._board.state_error is not None:
            self._hub.emit(StateChanged(error=None))

    async def _trim(self) -> None:
        await self._state.history.trim(self._clock.now())
