"""Debian's Prometheus as a process that asks mirrord, and its promtool."""

from __future__ import annotations

import json
import subprocess
import threading
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.integration.processes import Process, free_port
from tests.integration.servers import tool

READY_S = 30.0
OF_PROMETHEUS = {"__name__", "instance", "job"}


def promtool(*arguments: str, text: str = "") -> str:
    """Run promtool; return all that it had to say."""
    done = subprocess.run(
        [tool("promtool"), *arguments], input=text, capture_output=True, text=True, check=False, timeout=30
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    return said


@contextmanager
def prometheus(work_dir: Path, *target_ports: int, rules: Sequence[Path] = (), **others: int) -> Iterator[Prometheus]:
    """Start Prometheus, which asks ports of ours every second: those of mirrord, and of ``others`` by their jobs.

    It evaluates the files of ``rules`` twice a second.
    """
    jobs = {"mirrord": target_ports, **{job: (port,) for job, port in others.items()}}
    scrapes = [
        {"job_name": job, "static_configs": [{"targets": [f"127.0.0.1:{port}" for port in ports]}]}
        for job, ports in jobs.items()
    ]
    config = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "500ms"},
        "scrape_configs": scrapes,
        "rule_files": [str(file) for file in rules],
    }
    (work_dir / "prometheus.yaml").write_text(json.dumps(config), "utf-8")
    port = free_port()
    command = [
        tool("prometheus"),
        f"--config.file={work_dir / 'prometheus.yaml'}",
        f"--storage.tsdb.path={work_dir / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    process = Process(command, log_dir=work_dir, name="prometheus", env={"HOME": str(work_dir)})
    with process:
        yield Prometheus(process, port)


class Prometheus:
    """A Prometheus that runs."""

    def __init__(self, process: Process, port: int) -> None:
        self._process = process
        self._port = port

    def ask(self, path: str, **parameters: object) -> Any:
        """Return the data of an answer of the HTTP API, with the labels of Prometheus itself."""
        query = urllib.parse.urlencode(parameters, doseq=True)
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/api/v1/{path}?{query}", timeout=10) as answer:
            return json.load(answer)["data"]

    def query(self, expression: str) -> dict[tuple[str, ...], float]:
        """Return what an expression comes to: by the values of its labels, in the order of their names."""
        found = {}
        for one in self.ask("query", query=expression)["result"]:
            labels = {name: value for name, value in one["metric"].items() if name not in OF_PROMETHEUS}
            found[tuple(labels[name] for name in sorted(labels))] = float(one["value"][1])
        return found

    def wait_for(self, expression: str) -> None:
        """Wait until an expression comes to anything."""
        self.wait_until(lambda: bool(self.query(expression)), f"having {expression}")

    def wait_until(self, condition: Callable[[], bool], what: str, timeout_s: float = READY_S) -> None:
        """Poll until something holds that is asked of Prometheus."""

        def holds() -> bool:
            try:
                return condition()
            except OSError:
                return False

        self._process.wait_until(holds, what=what, timeout_s=timeout_s)


@contextmanager
def exposed(answer: Callable[[str | None], tuple[bytes, str]]) -> Iterator[int]:
    """Serve what ``answer`` returns for an Accept header, a text and its type, on a loopback port; yield the port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            text, content_type = answer(self.headers["Accept"])
            self.send_response(200)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as the base class has it
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
