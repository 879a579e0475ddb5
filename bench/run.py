"""Time mirrord and its rivals on the same registries, in turn: `python -m bench.run --help`."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from bench import report
from bench.rivals import PREFIX, Rival, Task, rivals
from bench.seeds import Scenario, faults, scenarios, seed, stored_bytes
from tests.integration.servers import DockerRegistry

RUN_LIMIT_S = 900
LAUNCHER = Path(__file__).with_name("launch.py")
RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One run of one tool.

    Attributes:
        scenario: Name of the workload.
        step: `first` for an empty target, `again` for an unchanged one.
        tool: Name of the tool.
        round: Number of the round, from 1.
        wall_s: Time from start to end.
        cpu_s: User and system time of the tool and its children.
        peak_bytes: Largest resident memory of one process of the tool.
        source_requests: Requests that the source registry answered.
        target_requests: Requests that the target registry answered.
        read_bytes: Bytes of bodies that the source sent.
        stored_bytes: Bytes of blobs and manifests that the run added to the target.
    """

    scenario: str
    step: str
    tool: str
    round: int
    wall_s: float
    cpu_s: float
    peak_bytes: int
    source_requests: int
    target_requests: int
    read_bytes: int
    stored_bytes: int


class RunFailedError(Exception):
    """A tool ended with a failure, or left the target incomplete."""


def main() -> int:
    """Run what the arguments ask for, print it and write it down."""
    options = _options()
    work = Path(tempfile.mkdtemp(prefix="mirrord-bench-", dir=options.work_dir))
    try:
        return _run(options, work)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _run(options: argparse.Namespace, work: Path) -> int:
    tools = {rival: rival.find_version() for rival in rivals() if rival.name in options.rivals}
    for rival, version in tools.items():
        print(f"{rival.name}: {version or 'not installed, left out'}")
    present = [rival for rival, version in tools.items() if version is not None]
    measurements: list[Measurement] = []
    failed = False
    for scenario in scenarios(quick=options.quick):
        if scenario.name not in options.scenario:
            continue
        print(f"\nseeding {scenario.name} ...", flush=True)
        source = DockerRegistry(work / f"source-{scenario.name}")
        with source:
            seed(source, scenario)
        for number in range(1, options.rounds + 1):
            for rival in list(present):
                try:
                    for measured in _measure(rival, scenario, number, source, work):
                        measurements.append(measured)
                        print(report.line(measured), flush=True)
                except RunFailedError as exc:
                    failed = True
                    print(f"{scenario.name}: {rival.name}: {exc}", file=sys.stderr)
        shutil.rmtree(source.root)
    print(report.tables(measurements, scenarios(quick=options.quick), judge=not options.quick))
    _write_down(options, {rival.name: version for rival, version in tools.items()}, measurements)
    return int(failed)


def _measure(
    rival: Rival, scenario: Scenario, number: int, source: DockerRegistry, work: Path
) -> Iterator[Measurement]:
    """Run one tool on an empty target, and again on the unchanged one where the scenario says so."""
    directory = Path(tempfile.mkdtemp(prefix=f"{rival.name}-", dir=work))
    home = directory / "home"
    home.mkdir()
    target = DockerRegistry(directory / "target")
    try:
        # Both registries start anew, and what earlier runs wrote is on the disk before the clock starts.
        os.sync()
        with source, target:
            task = Task(scenario=scenario, source=source.address, target=target.address, work_dir=home)
            command = rival.command(task)
            if command is None:
                return
            for step in ("first", "again") if scenario.again else ("first",):
                source.forget_requests()
                target.forget_requests()
                stored_before = stored_bytes(target.storage)
                wall_s, cpu_s, peak_bytes = _time(command, rival.environment(home, remembers=scenario.again), home)
                lacking = faults(source.storage, target.storage, scenario, PREFIX)
                if lacking:
                    raise RunFailedError(f"the target lacks {len(lacking)}: {', '.join(lacking[:3])}")
                yield Measurement(
                    scenario=scenario.name,
                    step=step,
                    tool=rival.name,
                    round=number,
                    wall_s=round(wall_s, 4),
                    cpu_s=round(cpu_s, 4),
                    peak_bytes=peak_bytes,
                    source_requests=len(source.requests()),
                    target_requests=len(target.requests()),
                    read_bytes=source.bytes_sent(),
                    stored_bytes=stored_bytes(target.storage) - stored_before,
                )
    finally:
        shutil.rmtree(directory)


def _time(command: list[str], environment: dict[str, str], home: Path) -> tuple[float, float, int]:
    """Run a command and return seconds on the wall, seconds of CPU and peak bytes of memory."""
    log, result = home / "output.log", home / "used"
    launcher = [sys.executable, "-I", "-S", str(LAUNCHER), str(result)]
    with log.open("wb") as output:
        child = subprocess.Popen(
            [*launcher, *command],
            env=environment,
            cwd=home,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code = child.wait(RUN_LIMIT_S)
        except subprocess.TimeoutExpired:
            raise RunFailedError(f"did not end within {RUN_LIMIT_S} s") from None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
    if code != 0:
        words = log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:]
        raise RunFailedError(f"ended with {code}\n" + "\n".join(words))
    wall_s, cpu_s, peak_bytes = result.read_text().split()
    return float(wall_s), float(cpu_s), int(peak_bytes)


def _write_down(options: argparse.Namespace, versions: dict[str, str | None], measurements: list[Measurement]) -> None:
    out: Path = options.out or RESULTS / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}.local.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    document = {
        "schema_version": 1,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "quick": options.quick,
        "rounds": options.rounds,
        "machine": {
            "cpus": os.cpu_count(),
            "architecture": platform.machine(),
            "kernel": platform.release(),
            "python": platform.python_version(),
        },
        "tools": versions,
        "measurements": [asdict(measured) for measured in measurements],
    }
    out.write_text(json.dumps(document, indent=1) + "\n")
    print(f"\nwritten to {out}")


def _options() -> argparse.Namespace:
    names = [scenario.name for scenario in scenarios(quick=True)]
    known = [rival.name for rival in rivals()]
    parser = argparse.ArgumentParser(prog="python -m bench.run", description=__doc__)
    parser.add_argument("--scenario", action="append", choices=names, help="a workload; may be repeated; default: all")
    parser.add_argument("--rounds", type=int, default=3, help="rounds; in each every tool runs once (default: 3)")
    parser.add_argument("--rivals", type=lambda text: text.split(","), default=known, help=f"of {','.join(known)}")
    parser.add_argument("--quick", action="store_true", help="small workloads, to try the benchmark; no verdicts")
    parser.add_argument(
        "--work-dir", type=Path, help="where registries store; default: the directory for temporary files"
    )
    parser.add_argument("--out", type=Path, help="file for the results; default: bench/results/TIME.local.json")
    options = parser.parse_args()
    options.scenario = options.scenario or names
    unknown = sorted(set(options.rivals) - set(known))
    if unknown:
        parser.error(f"unknown rivals: {', '.join(unknown)} (known: {', '.join(known)})")
    if options.rounds < 1:
        parser.error("--rounds must be 1 or more")
    return options


if __name__ == "__main__":
    sys.exit(main())
