"""Configurations follow each other while the service runs: read, checked, opened, and only then put in force."""

from __future__ import annotations

import itertools
import os
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup, TaskStatus

from mirrord.app.parts import App, Network, open_app
from mirrord.app.preflight import check_registries
from mirrord.config.loader import STANDARD_INPUT, Config, load_config
from mirrord.config.secrets import ConfiguredSecrets
from mirrord.errors import ConfigError, MirrordError
from mirrord.planning.rule import Rule
from mirrord.planning.status import ConfigStatus
from mirrord.ports.clock import Clock
from mirrord.ports.events import ConfigLoaded, EventSink
from mirrord.ports.memory import Memory
from mirrord.ports.settings import FileSecret, RegistrySettings
from mirrord.sync.run import unwrap
from mirrord.sync.service import Setup
from mirrord.transfer.unit import describe

MOST_SHOWN = 5
"""Problems of a refused file that are shown; all of them are what `mirrord config validate` tells."""


@dataclass(slots=True, kw_only=True)
class Reloader:
    """Reads the configuration file again and again; the last good one stays in force.

    Attributes:
        path: the file; ``-`` is read once.
        group: where a configuration's connections live, from when it is opened until it is released.
        adopt: puts a configuration in force.
        settle: told its rules after that, to forget what is known of others.
        report: takes what is to be shown of it.
        registries: the settings in force.
    """

    path: str
    environment: Mapping[str, str]
    clock: Clock
    events: EventSink
    memory: Memory
    group: TaskGroup
    adopt: Callable[[Setup], None]
    settle: Callable[[Sequence[Rule]], Awaitable[None]]
    report: Callable[[ConfigStatus], None]
    network: Network = field(default_factory=Network)
    registries: Mapping[str, RegistrySettings] = field(default_factory=dict)
    status: ConfigStatus | None = None
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    _wanted: bool = field(default=False, init=False)
    _lock: anyio.Lock = field(default_factory=anyio.Lock)

    async def begin(self) -> ConfigStatus:
        """Put the first configuration in force.

        Raises:
            ConfigError: the file cannot be read or is not valid.
            StartupError: a secret or a certificate that it names cannot be used.
            UsageError: neither can a provider or a proxy.
        """
        async with self._lock:
            return await self._put_in_force()

    async def again(self) -> None:
        """Read the file anew: it is put in force whole, or refused whole. Never raises for what comes of that.

        However often this is asked for while the file is being read, it is read once more after that. Before `begin`
        nothing happens: that reads the file anyway.
        """
        if self._wanted:
            return
        self._wanted = True
        async with self._lock:
            self._wanted = False
            if self.status is None:
                return
            try:
                await self._put_in_force()
            except Exception as exc:  # noqa: BLE001 - whatever a file leads to, the one before stays in force
                self._refused(exc)

    def files(self) -> list[Path]:
        """Return the files beside the configuration whose change has it read again: secrets and certificates."""
        return [Path(path) for settings in self.registries.values() for path in _files_of(settings)]

    async def _put_in_force(self) -> ConfigStatus:
        config = await anyio.to_thread.run_sync(lambda: load_config(self.path, self.environment))
        app, retired = await self.group.start(self._open, config)
        try:
            self.adopt(Setup(rules=config.rules, engine=app.engine(), release=retired.set))
        except BaseException:
            retired.set()
            raise
        self.registries = config.registries
        now = self.clock.now()
        warnings = tuple(str(warning) for warning in config.warnings)
        self.status = ConfigStatus(file=config.file, loaded_at=now, rules=len(config.rules), warnings=warnings)
        self.report(self.status)
        self.events.emit(ConfigLoaded(file=config.file, at=now, rules=len(config.rules)))
        await self.settle(config.rules)
        return self.status

    def _refused(self, error: Exception) -> None:
        assert self.status is not None
        now = self.clock.now()
        text = explain(error)
        self.status = ConfigStatus(
            file=self.status.file,
            loaded_at=self.status.loaded_at,
            rules=self.status.rules,
            warnings=self.status.warnings,
            error=text,
            error_at=now,
        )
        self.report(self.status)
        self.events.emit(ConfigLoaded(file=self.status.file, at=now, rules=self.status.rules, error=text))

    async def _open(
        self, config: Config, *, task_status: TaskStatus[tuple[App, anyio.Event]] = anyio.TASK_STATUS_IGNORED
    ) -> None:
        """Keep what a configuration needs open until nobody uses it any more."""
        secrets = ConfiguredSecrets(self.environment)
        retired = anyio.Event()
        async with open_app(
            settings=config.registries,
            read_secret=secrets,
            environment=self.environment,
            events=self.events,
            network=self.network,
            memory=self.memory,
            numbers=self._numbers,
        ) as app:
            await check_registries(app, config.rules, secrets)
            task_status.started((app, retired))
            await retired.wait()


def explain(error: Exception) -> str:
    """Return why a file was refused, on one line; of many problems the first."""
    if not isinstance(error, MirrordError):
        return f"RELOAD_REJECTED: {describe(unwrap(error))}"
    if not isinstance(error, ConfigError):
        return f"RELOAD_REJECTED: {error}"
    shown = "; ".join(str(problem) for problem in error.problems[:MOST_SHOWN])
    more = len(error.problems) - MOST_SHOWN
    return f"RELOAD_REJECTED: {shown}" + (f"; and {more} more" if more > 0 else "")


def watched(path: str) -> Path | None:
    """Return the file to watch; None: standard input, which does not change."""
    return None if path == STANDARD_INPUT else Path(os.path.abspath(path))  # noqa: PTH100 - links are kept as they stand


def _files_of(settings: RegistrySettings) -> Iterator[str]:
    if isinstance(settings.password, FileSecret):
        yield settings.password.path
    yield from (path for path in (settings.tls.ca_file, settings.tls.cert_file, settings.tls.key_file) if path)
