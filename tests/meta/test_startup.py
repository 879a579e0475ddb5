"""The start-up budget: what is cheap to ask for loads nothing heavy."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = (
    "aiohttp",
    "anyio",
    "asyncio",
    "httpx2",
    "prometheus_client",
    "pydantic",
    "pydantic_settings",
    "re2",
    "rich",
    "ssl",
    "structlog",
    "uvicorn",
    "yaml",
    "yarl",
    "mirrord.app",
    "mirrord.config.loader",
    "mirrord.registry.http",
    "mirrord.sync.run",
    "mirrord.telemetry",
)
OF_THE_SERVICE = ("prometheus_client", "structlog", "mirrord.telemetry")
PROBE = """
import sys
from mirrord.cli.main import run
code = run(sys.argv[2:])
heavy = sorted(set(sys.argv[1].split(",")) & set(sys.modules))
print(code, ",".join(heavy), file=sys.stderr)
"""


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["--help"], id="help"),
        pytest.param(["--version"], id="version"),
        pytest.param(["sync", "--help"], id="help-of-a-command"),
        pytest.param(["config", "--help"], id="help-of-a-group"),
    ],
)
def test_help_and_version_load_nothing_heavy(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROBE, ",".join(HEAVY), *arguments], capture_output=True, text=True, check=True
    )

    assert done.stderr.split() == ["0"]


def test_a_wrong_command_is_refused_without_loading_anything_heavy() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROBE, ",".join(HEAVY), "synk"], capture_output=True, text=True, check=True
    )

    assert done.stderr.splitlines()[-1].split() == ["2"]


def test_single_run_loads_nothing_that_only_the_service_needs(tmp_path: Path) -> None:
    """Metrics and logs cost nothing where nobody asked for them."""
    rule = {"name": "app", "source": f"oci:{tmp_path}/source", "targets": [f"oci:{tmp_path}/target"]}
    file = tmp_path / "mirrord.json"
    file.write_text(json.dumps({"version": 1, "rules": [rule]}), "utf-8")
    arguments = ["sync", "--once", "-c", str(file)]
    done = subprocess.run(
        [sys.executable, "-c", PROBE, ",".join((*OF_THE_SERVICE, "mirrord.sync.run")), *arguments],
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stderr.splitlines()[-1].split() == ["1", "mirrord.sync.run"], "the source is not there"


GARBAGE_PROBE = """
import atexit, gc, sys
from mirrord.__main__ import main
gc.collect()  # what the interpreter's own start allocated depends on what is installed
seen = []
gc.callbacks.append(lambda phase, info: seen.append(phase))
atexit.register(lambda: print(len(seen), len(gc.get_objects()), file=sys.stderr))
sys.argv[1:] = ["--version"]
main()
"""


def test_imports_are_not_searched_for_garbage() -> None:
    """Neither while modules come in nor at the end does a short command look through them."""
    done = subprocess.run([sys.executable, "-c", GARBAGE_PROBE], capture_output=True, text=True, check=True)
    collections, left_to_search = done.stderr.split()

    assert collections == "0"
    assert int(left_to_search) < 1000
