"""The service of mirrord as a process, asked over its HTTP API."""

from __future__ import annotations

import http.client
import json
import secrets
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

from tests.integration.command import Mirrord
from tests.integration.processes import Process, free_port

READY_S = 30.0


class Daemon:
    """`mirrord sync -c FILE` with a state, a port and a token of its own.

    Args:
        mirrord: How the command is run.
        config: The configuration file.
        env: Variables added to the environment.
    """

    def __init__(self, mirrord: Mirrord, config: Path, env: Mapping[str, str] | None = None) -> None:
        self.config = config
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/"
        self.token = secrets.token_urlsafe(24)
        self.token_file = mirrord.work_dir / "token"
        self.state_file = mirrord.work_dir / "state.db"
        self.token_file.write_text(self.token)
        self.env = {
            "MIRRORD_STATE": f"sqlite:///{self.state_file}",
            "MIRRORD_LISTEN": f"127.0.0.1:{self.port}",
            "MIRRORD_API_TOKEN_FILE": str(self.token_file),
            "MIRRORD_LOG_FORMAT": "json",
            **(env or {}),
        }
        self._mirrord = mirrord
        self._process: Process | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.alive:
            self.process.kill()

    @property
    def process(self) -> Process:
        """The process, running or not."""
        assert self._process is not None
        return self._process

    def start(self) -> None:
        """Start it, and wait until it is ready."""
        self._process = self._mirrord.start("sync", "-c", str(self.config), env=self.env)
        self.process.wait_until(lambda: self.status_of("readyz") == 200, what="ready", timeout_s=READY_S)

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal that ends it; return the exit status."""
        self.process.signal(number)
        return self.process.wait(30)

    def send(self, method: str, path: str, *, token: bool = False) -> tuple[int, bytes]:
        """Return status and body of an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        headers = {"Authorization": f"Bearer {self.token}"} if token else {}
        if method == "POST":
            headers["Content-Type"] = "application/json"
        try:
            connection.request(method, f"/{path.lstrip('/')}", headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def status_of(self, path: str) -> int:
        """Return the status of an answer, 0 where nobody listens."""
        try:
            return self.send("GET", path)[0]
        except OSError:
            return 0

    def get(self, path: str) -> Any:
        """Return what the API says."""
        status, body = self.send("GET", f"api/v1/{path}")
        assert status == 200, body
        return json.loads(body)

    def metrics(self) -> dict[str, float]:
        """Return the metrics by name with labels, as they are written."""
        status, body = self.send("GET", "metrics")
        assert status == 200
        lines = [line for line in body.decode().splitlines() if line and not line.startswith("#")]
        return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines}

    def sync(self, rule: str) -> str:
        """Ask for a run of a rule; return its id."""
        status, body = self.send("POST", f"api/v1/rules/{rule}/sync", token=True)
        assert status == 202, body
        return str(json.loads(body)["run"])

    def wait_for_run(self, run: str) -> Any:
        """Wait until a run has ended; return what the API says of it."""
        self.wait_until(lambda: self._has_ended(run), f"run {run} to end")
        return self.get(f"runs/{run}")

    def wait_until(self, condition: Callable[[], bool], what: str, timeout_s: float = 30) -> None:
        """Poll until a condition holds."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert self.process.alive, f"ended while waiting for {what}\n{self.process.tail()}"
            assert time.monotonic() < deadline, f"waited in vain for {what}\n{self.process.tail()}"
            time.sleep(0.02)

    def log(self) -> list[dict[str, Any]]:
        """Return the log's records."""
        text = self.process.stderr_file.read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines() if line.startswith("{")]

    def _has_ended(self, run: str) -> bool:
        status, body = self.send("GET", f"api/v1/runs/{run}")
        return status == 200 and json.loads(body)["finished"] is not None
