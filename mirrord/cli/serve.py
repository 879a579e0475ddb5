"""`mirrord sync` without ``--once``: the service, until a signal ends it."""

from __future__ import annotations

import gc
import os
import signal
import sys
from typing import NoReturn

from mirrord.cli.failures import SIGNAL_BASE
from mirrord.cli.session import collect_garbage_from_here
from mirrord.errors import UsageError


def run_service(config: str | None) -> int:
    """Run the service; return its exit code.

    Raises:
        UsageError: no configuration file was named.
        ConfigError: it is not valid, or the settings of the process are not.
        StartupError: the state store, a secret or the address to listen on cannot be used.
    """
    _die_of_signals()
    if config is None:
        raise UsageError(
            "no configuration file was named",
            code="CONFIG_MISSING",
            remedy="give one with -c FILE, or set MIRRORD_CONFIG",
        )
    import anyio

    from mirrord.app.serve import Serving, serve
    from mirrord.config.process import load_process_settings

    settings = load_process_settings(os.environ)
    serving = Serving(config=config, settings=settings, environment=os.environ, stream=sys.stderr)
    gc.collect()  # once, thoroughly: what importing left behind would stay for months
    collect_garbage_from_here()
    # The loop of the standard library: 2 MiB less for as long as the service lives (docs/decisions/0025).
    number = anyio.run(serve, serving, backend="asyncio", backend_options={"use_uvloop": False})
    return SIGNAL_BASE + number if number else 0


def _die_of_signals() -> None:
    """End at once for a signal that comes before the service obeys signals itself; one that asks for more is too early.

    What SIGHUP and SIGUSR1 ask for, to read the file and to run the rules, happens at the start anyway; unhandled, they
    would end the process. The kernel keeps signals without a handler from process 1 of a container, which would go on
    starting.
    """

    def die(number: int, _frame: object) -> NoReturn:
        os._exit(SIGNAL_BASE + number)

    def wait(_number: int, _frame: object) -> None:
        pass

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, die)
    for number in (signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, wait)
