"""What commands that talk to registries have in common: the configuration, the application, signals.

A command is a plain function around an async body::

    config = load_optional(config_path)
    result = run_async(body, config=config)      # async def body(app: App) -> T
"""

from __future__ import annotations

import gc
import importlib.util
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, TypeVar

from mirrord.cli.failures import SIGNAL_BASE, InterruptedRunError, complain
from mirrord.cli.github import annotate_warnings
from mirrord.errors import UsageError

if TYPE_CHECKING:
    from mirrord.app import App
    from mirrord.config.loader import Config
    from mirrord.ports.events import EventSink
    from mirrord.ports.history import History
    from mirrord.ports.memory import Memory
    from mirrord.ports.settings import RegistrySettings

T = TypeVar("T")

SHOW_CURSOR = "\x1b[?25h"
"""Live bars hide the cursor; whoever ends the process without them shows it again."""


def load(path: str | None) -> Config:
    """Return the configuration of a file, its warnings shown on stderr.

    Raises:
        UsageError: no file was named.
        ConfigError: the file is not valid.
    """
    if path is None:
        raise UsageError(
            "no configuration file was named",
            code="CONFIG_MISSING",
            remedy="give one with -c FILE, or set MIRRORD_CONFIG",
        )
    from mirrord.config.loader import load_config

    config = load_config(path, os.environ)
    for warning in config.warnings:
        complain(f"warning: {warning}")
    annotate_warnings(config.warnings, os.environ)
    return config


def load_optional(path: str | None) -> Config | None:
    """Return the configuration of a file if one was named: what is set for registries holds for every command."""
    return load(path) if path is not None else None


def run_async(
    body: Callable[[App], Awaitable[T]],
    *,
    config: Config | None = None,
    settings: Mapping[str, RegistrySettings] | None = None,
    events: EventSink | None = None,
    state: str | None = None,
    read_only: bool = False,
) -> T:
    """Run ``body`` with an application made for ``config``, and return what it returns.

    ``settings`` of registries, by host, stand in for those of ``config``. ``state`` is the URL of the state store; with
    None nothing is remembered. Where that is ``read_only``, it is neither locked nor changed.

    SIGINT and SIGTERM cancel the body, whose clean-up cancels uploads; a second signal ends the process at once.

    Raises:
        InterruptedRunError: a signal came.
        Exception: what ``body`` raised.
    """
    from contextlib import AsyncExitStack

    import anyio

    from mirrord.app import SystemClock, open_app
    from mirrord.config.secrets import ConfiguredSecrets
    from mirrord.ports.events import NullSink

    if settings is None:
        settings = config.registries if config is not None else {}
    sink = events if events is not None else NullSink()

    async def work() -> T:
        async with AsyncExitStack() as open_things:
            memory: Memory | None = None
            history: History | None = None
            if state is not None and read_only:
                from mirrord.state import open_memory

                memory = await open_things.enter_async_context(open_memory(state, clock=SystemClock(), events=sink))
            elif state is not None:
                from mirrord.state import open_state

                store = await open_things.enter_async_context(open_state(state, clock=SystemClock(), events=sink))
                memory, history = store.memory, store.history
            app = await open_things.enter_async_context(
                open_app(
                    settings=settings,
                    read_secret=ConfiguredSecrets(os.environ),
                    environment=os.environ,
                    events=sink,
                    memory=memory,
                    history=history,
                )
            )
            return await body(app)

    collect_garbage_from_here()
    return anyio.run(_supervise, work, backend="asyncio", backend_options={"use_uvloop": has_uvloop()})


def collect_garbage_from_here() -> None:
    """End what `__main__` began for the time of imports: from here on things come and go."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()


def has_uvloop() -> bool:
    """Say whether the faster event loop is installed; it is on the platforms that it exists for."""
    return importlib.util.find_spec("uvloop") is not None


async def _supervise(work: Callable[[], Awaitable[T]]) -> T:
    """Run ``work`` until it ends or a signal comes."""
    import anyio

    received: list[signal.Signals] = []
    results: list[T] = []
    errors: list[Exception] = []

    async def watch(scope: anyio.CancelScope) -> None:
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            ready.set()
            async for number in signals:
                if received:
                    complain(f"{SHOW_CURSOR if sys.stderr.isatty() else ''}interrupted again: ending at once")
                    os._exit(SIGNAL_BASE + received[0])
                received.append(number)
                complain("interrupted: stopping; once more to end at once")
                scope.cancel()

    ready = anyio.Event()
    async with anyio.create_task_group() as group:
        inner = anyio.CancelScope()
        group.start_soon(watch, inner)
        await ready.wait()
        with inner:
            try:
                results.append(await work())
            except Exception as exc:  # noqa: BLE001 - raised below, alone and not in a group
                errors.append(exc if not isinstance(exc, ExceptionGroup) else _alone(exc))
        group.cancel_scope.cancel()
    if received:
        raise InterruptedRunError(received[0])
    if errors:
        raise errors[0]
    return results[0]


def _alone(group: ExceptionGroup) -> Exception:
    """Return the first error of a group: the state store's task group wraps what the body raised."""
    first = group.exceptions[0]
    return _alone(first) if isinstance(first, ExceptionGroup) else first
