"""Debian's Prometheus as a process that asks mirrord, and its promtool."""

from __future__ import annotations

import json
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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
def prometheus(work_dir: Path, target_port: int) -> Iterator[Prometheus]:
    """Start Prometheus, which asks a port of ours every second."""
    scrape = {"job_name": "mirrord", "static_configs": [{"targets": [f"127.0.0.1:{target_port}"]}]}
    config = {"global": {"scrape_interval": "1s", "scrape_timeout": "1s"}, "scrape_configs": [scrape]}
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

    def query(self, expression: str) -> dict[tuple[str, ...], float]:
        """Return what an expression comes to: by the values of its labels, in the order of their names."""
        query = urllib.parse.urlencode({"query": expression})
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/api/v1/query?{query}", timeout=5) as answer:
            result = json.load(answer)["data"]["result"]
        found = {}
        for one in result:
            labels = {name: value for name, value in one["metric"].items() if name not in OF_PROMETHEUS}
            found[tuple(labels[name] for name in sorted(labels))] = float(one["value"][1])
        return found

    def wait_for(self, expression: str) -> None:
        """Wait until an expression comes to anything."""

        def is_there() -> bool:
            try:
                return bool(self.query(expression))
            except OSError:
                return False

        self._process.wait_until(is_there, what=f"having {expression}", timeout_s=READY_S)
