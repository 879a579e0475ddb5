"""What the service takes while it has nothing to do: `python -m bench.idle`, with 200 rules.

Resident memory after the start, after the page's requests, and at the end; processor time over the span.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

READY_S = 30
TICKS = os.sysconf("SC_CLK_TCK")


def main() -> int:
    """Start the service, watch it for a while, and print what it took."""
    parser = argparse.ArgumentParser(prog="python -m bench.idle", description=__doc__)
    parser.add_argument("--rules", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--port", type=int, default=18098)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mirrord-idle-") as directory:
        config = Path(directory) / "mirrord.yaml"
        config.write_text(json.dumps(_config(options.rules)))
        for attempt in ("first start", "second start"):
            _watch(attempt, config, options.port, options.seconds)
    return 0


def _config(count: int) -> dict[str, object]:
    # Without a schedule no rule runs, and with one that never comes due the alarm has something to look at.
    schedule = {"cron": "0 0 29 2 *"}
    rules = [
        {
            "name": f"rule-{number}",
            "source": f"127.0.0.1:9/source/app-{number}",
            "targets": [f"127.0.0.1:9/mirror/app-{number}"],
            **({"schedule": schedule, "freshness": "1h"} if number % 2 else {}),
        }
        for number in range(count)
    ]
    return {"version": 1, "registries": {"127.0.0.1:9": {"plain_http": True}}, "rules": rules}


def _watch(attempt: str, config: Path, port: int, seconds: float) -> None:
    env = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(config.parent),
        "MIRRORD_STATE": f"sqlite://{config.parent}/state.db",
        "MIRRORD_LISTEN": f"127.0.0.1:{port}",
    }
    command = [sys.executable, "-m", "mirrord", "sync", "-c", str(config)]
    with subprocess.Popen(command, env=env, stderr=subprocess.DEVNULL) as child:
        try:
            _wait_for(port)
            time.sleep(5)
            started, before = _rss(child.pid), _cpu(child.pid)
            time.sleep(seconds)
            used = (_cpu(child.pid) - before) / seconds
            for path in ("", "api/v1/status", "metrics"):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=10).read()
            asked = _rss(child.pid)
        finally:
            child.terminate()
    print(
        f"{attempt}: {started:.1f} MiB resident, {asked:.1f} MiB after page, status and metrics; {used:.2%} of a core"
    )


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5).read()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise SystemExit("the service did not become ready")


def _rss(pid: int) -> float:
    text = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return int(text.partition("VmRSS:")[2].split()[0]) / 1024


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


if __name__ == "__main__":
    raise SystemExit(main())
