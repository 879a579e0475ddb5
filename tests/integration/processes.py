"""Processes that tests start: found, started, waited for by polling, and killed with their children."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self

READY_S = 10.0
STOP_S = 10.0
POLL_S = 0.01
# Below the range from which Linux takes the local ports of outgoing connections: a server that was killed
# finds its port free again.
PORTS = range(20000, 32000)


class ProcessError(Exception):
    """A process of the test bench did not start, did not answer or did not end in time."""


def find_tool(name: str) -> str | None:
    """Return the path of a system tool; the directories of daemons are searched even when PATH lacks them."""
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin:/usr/local/sbin")


def free_port() -> int:
    """Return a loopback port that nothing listens on."""
    for port in random.sample(PORTS, 100):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise ProcessError("no free loopback port among 100 tried")


class Process:
    """One child process in a process group of its own, its output appended to two files.

    Args:
        command: Program and arguments.
        log_dir: Where `<name>.out` and `<name>.err` are written; they outlive a restart.
        name: Names the log files and appears in errors.
        env: The whole environment; None passes on that of the tests.
        cwd: Working directory; None keeps that of the tests.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        log_dir: Path,
        name: str,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        self.command = list(command)
        self.name = name
        self.stdout_file = log_dir / f"{name}.out"
        self.stderr_file = log_dir / f"{name}.err"
        self._env = env
        self._cwd = cwd
        self._child: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The process id of the running child."""
        if self._child is None:
            raise ProcessError(f"{self.name} is not running")
        return self._child.pid

    @property
    def alive(self) -> bool:
        """Whether the child runs."""
        return self._child is not None and self._child.poll() is None

    def start(self) -> None:
        """Start the child.

        Raises:
            ProcessError: It runs already.
        """
        if self.alive:
            raise ProcessError(f"{self.name} runs already")
        with self.stdout_file.open("ab") as stdout, self.stderr_file.open("ab") as stderr:
            self._child = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                env=None if self._env is None else dict(self._env),
                cwd=self._cwd,
                start_new_session=True,
            )

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the child alone."""
        os.kill(self.pid, number)

    def wait(self, timeout_s: float = STOP_S) -> int:
        """Wait for the end of the child and return its exit status, negative for a signal.

        Raises:
            ProcessError: It still runs after `timeout_s`; it is killed.
        """
        if self._child is None:
            raise ProcessError(f"{self.name} was never started")
        try:
            return self._child.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise ProcessError(
                f"{self.name} did not end within {timeout_s:g} s and was killed\n{self.tail()}"
            ) from None

    def stop(self) -> int:
        """Ask the child to end (SIGTERM), wait, and return its exit status; kills what is left of its group."""
        if self.alive:
            self.signal(signal.SIGTERM)
        try:
            return self.wait() if self._child is not None else 0
        finally:
            self._kill_group()

    def kill(self) -> None:
        """End the child and its children at once (SIGKILL), as a crash or a lost machine would."""
        self._kill_group()
        if self._child is not None:
            self._child.wait(STOP_S)

    def wait_until(self, ready: Callable[[], bool], *, what: str, timeout_s: float = READY_S) -> None:
        """Poll until `ready` holds.

        Raises:
            ProcessError: The child ended, or `timeout_s` passed.
        """
        deadline = time.monotonic() + timeout_s
        while not ready():
            if not self.alive:
                raise ProcessError(f"{self.name} ended before {what}\n{self.tail()}")
            if time.monotonic() > deadline:
                raise ProcessError(f"{self.name} not {what} within {timeout_s:g} s\n{self.tail()}")
            time.sleep(POLL_S)

    def tail(self, lines: int = 20) -> str:
        """Return the last lines that the child wrote, for error messages."""
        parts = []
        for file in (self.stdout_file, self.stderr_file):
            if file.exists():
                text = file.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:]
                parts.append(f"--- {file.name}\n" + "\n".join(text))
        return "\n".join(parts)

    def _kill_group(self) -> None:
        if self._child is None:
            return
        try:
            os.killpg(self._child.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
