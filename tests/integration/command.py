"""The command line of mirrord as a process, with nothing of the user's surroundings but PATH."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from tests.integration.processes import Process

ROOT = Path(__file__).resolve().parents[2]
COMMAND_S = 50.0


class Finished(NamedTuple):
    """How a command ended: its exit status and what it wrote."""

    code: int
    stdout: str
    stderr: str


class Mirrord:
    """Runs `python -m mirrord` with a home directory and an environment of its own, and no state but where it is named.

    Args:
        work_dir: Home and working directory of the command.
    """

    def __init__(self, work_dir: Path) -> None:
        self.work_dir = work_dir
        self._started: list[Process] = []

    def run(self, *arguments: str, env: Mapping[str, str] | None = None, timeout_s: float = COMMAND_S) -> Finished:
        """Run a command to its end.

        Args:
            *arguments: Arguments of `mirrord`.
            env: Variables added to the environment.
            timeout_s: The command is killed and the test fails after this time.
        """
        done = subprocess.run(
            self._command(arguments),
            env=self._environment(env),
            cwd=self.work_dir,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=timeout_s,
        )
        return Finished(done.returncode, done.stdout.decode(), done.stderr.decode())

    def start(self, *arguments: str, env: Mapping[str, str] | None = None) -> Process:
        """Start a command that stays, such as the service; it is killed at the end of the test at the latest."""
        name = f"mirrord-{len(self._started) + 1}"
        process = Process(
            self._command(arguments),
            log_dir=self.work_dir,
            name=name,
            env=self._environment(env),
            cwd=self.work_dir,
        )
        self._started.append(process)
        process.start()
        return process

    def close(self) -> None:
        """Kill what `start` started and still runs."""
        for process in self._started:
            process.kill()

    def _command(self, arguments: tuple[str, ...]) -> list[str]:
        return [sys.executable, "-m", "mirrord", *arguments]

    def _environment(self, added: Mapping[str, str] | None) -> dict[str, str]:
        # COVERAGE_*: what a process under measurement hands to its children.
        kept = {key: value for key, value in os.environ.items() if key == "PATH" or key.startswith("COVERAGE_")}
        return {
            **kept,
            "HOME": str(self.work_dir),
            "LC_ALL": "C.UTF-8",
            "PYTHONPATH": str(ROOT),
            **(added or {}),
        }
