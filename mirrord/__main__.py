"""``python -m mirrord``, and the entry point of the command ``mirrord``."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
import time
from types import FrameType
from typing import NoReturn

THREADS_MAY_TAKE_S = 0.5
"""For threads to end after the command has: those of SDKs cannot be cancelled, and ask a network that stands still."""


def main() -> None:
    """Run the command line with the arguments of the process, and exit with its code.

    What is imported lives as long as the process: looking through it for garbage, while it comes in (`run_async` ends
    that) and once more at the end, took a tenth of a short run each.
    """
    gc.disable()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _die)
    from mirrord.cli.main import run

    signal.signal(signal.SIGINT, signal.default_int_handler)  # from here on it is told in words
    code = run(sys.argv[1:])
    gc.freeze()
    _leave_threads_behind(code)
    sys.exit(code)


def _die(number: int, _frame: FrameType | None) -> NoReturn:
    """End at once: while the command is being imported nothing has begun that would have to be ended.

    SIGTERM means this until a command obeys it otherwise. Without a handler the kernel would keep it from process 1 of
    a container.
    """
    os._exit(128 + number)


def _leave_threads_behind(code: int) -> None:
    """End the process with ``code`` now where a thread goes on: Python itself would wait for it, for minutes."""
    until = time.monotonic() + THREADS_MAY_TAKE_S
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join(max(0.0, until - time.monotonic()))
            if thread.is_alive():
                for stream in (sys.stdout, sys.stderr):
                    try:
                        stream.flush()
                    except (OSError, ValueError):
                        continue  # nobody reads any more
                os._exit(code)


if __name__ == "__main__":
    main()
