"""Runs the service for minutes or hours while tags move and registries die: `python -m bench.soak --help`.

What must hold at the end: every target serves what its source has, no rule missed its schedule or ran twice at
once, and memory, descriptors, sockets and threads do not grow.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import secrets
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from bench.judging import beats, late, overlaps
from bench.observing import Observer
from bench.sampling import Sample, Sampler, Trend, look, trends
from bench.world import World
from tests.integration.processes import Process, free_port
from tests.integration.servers import LOOPBACK

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).parent / "results"
READY_S = 60.0
DRAIN_S = 60.0
GROWS = {"rss": 16 << 20, "anonymous": 16 << 20, "descriptors": 16, "sockets": 16, "threads": 8}
"""What must not grow by more than the share that is allowed, and by how much it may anyway."""

_UNITS = {"s": 1, "m": 60, "h": 3600}


@dataclass(slots=True)
class Findings:
    """What a soak came to."""

    faults: list[str] = field(default_factory=list)
    facts: dict[str, object] = field(default_factory=dict)

    def check(self, holds: bool, fault: str) -> None:
        """File a fault away unless what was checked holds."""
        if not holds:
            self.faults.append(fault)


def main() -> int:
    """Soak as the arguments say; 0: all held."""
    options = _options()
    work = Path(tempfile.mkdtemp(prefix="mirrord-soak-", dir=options.work_dir))
    world = World(
        work,
        sources=options.sources,
        targets=options.targets,
        rules=options.rules,
        tags=options.tags,
        seed=options.seed,
    )
    try:
        with world:
            print(f"seeding {options.rules} repositories with {options.tags} tags each ...", flush=True)
            world.seed()
            findings, samples = _soak(options, world, work)
    finally:
        if options.keep:
            print(f"kept: {work}")
        else:
            shutil.rmtree(work, ignore_errors=True)
    _tell(findings, trends(samples))
    _write_down(options, findings, samples)
    return int(bool(findings.faults))


def _soak(options: argparse.Namespace, world: World, work: Path) -> tuple[Findings, list[Sample]]:
    token = secrets.token_hex(16)
    (work / "token").write_text(token)
    (work / "token").chmod(0o600)
    port = free_port()
    service = Process(
        [*options.command, "-c", str(_configure(work, world, options.schedule))],
        log_dir=work,
        name="service",
        env={
            "PATH": os.environ.get("PATH", ""),
            "HOME": str(work),
            "PYTHONPATH": str(ROOT),
            "MIRRORD_STATE": f"sqlite:///{work}/state.db",
            "MIRRORD_LISTEN": f"{LOOPBACK}:{port}",
            "MIRRORD_API_TOKEN_FILE": str(work / "token"),
            "MIRRORD_LOG_FORMAT": "json",
        },
        cwd=work,
    )
    observer = Observer(f"http://{LOOPBACK}:{port}", token)
    findings = Findings()
    service.start()
    try:
        service.wait_until(observer.is_ready, what="ready", timeout_s=READY_S)
        samples = _watch(options, world, service, observer, findings)
        _end(service, findings)
    finally:
        service.kill()
    errors = re.findall(r"Traceback \(most recent call last\)", service.stderr_file.read_text("utf-8", "replace"))
    findings.check(not errors, f"the log of the service has {len(errors)} tracebacks")
    return findings, samples


def _watch(
    options: argparse.Namespace, world: World, service: Process, observer: Observer, findings: Findings
) -> list[Sample]:
    """Let the service work for the whole time, and file away what is wrong at its end."""
    every = timedelta(seconds=options.schedule)
    settle_s = 30.0 + 6 * options.schedule
    findings.check(not (left := world.wait_until_equal(settle_s)), f"the first pass left {len(left)}: {left[:3]}")
    work = service.stdout_file.parent
    files = [work / name for name in ("state.db", "state.db-wal", "state.db-shm")]
    take = partial(_take, service, files)
    skipped_before = observer.counter("mirrord_schedule_skipped_total", "rule")
    begin = datetime.now(UTC)
    with Sampler(take, work / "samples.csv", every_s=options.sample) as sampler:
        _disturb(options, world, service, observer)
        end = datetime.now(UTC)
        world.revive()
        waited = time.monotonic()
        left = world.wait_until_equal(settle_s)
        findings.facts["seconds_to_settle"] = round(time.monotonic() - waited, 1)
    findings.check(not left, f"targets differ in {len(left)} tags at the end: {left[:3]}")
    findings.check(sampler.failure is None, f"the service could not be looked at: {sampler.failure}")
    observer.collect()
    skipped = observer.counter("mirrord_schedule_skipped_total", "rule")
    since = {rule: count - skipped_before.get(rule, 0) for rule, count in skipped.items()}
    rules = [route.rule for route in world.routes]
    runs = list(observer.runs.values())
    found = beats(runs, since, rules, begin=begin, end=end, every=every)
    missed = [beat for beat in found if late(beat)]
    findings.check(
        not missed,
        f"{len(missed)} rules missed their schedule: "
        + ", ".join(f"{b.rule} ran {b.ran} and skipped {b.skipped} of {b.expected:.0f}" for b in missed[:3]),
    )
    twice = overlaps(runs)
    findings.check(not twice, f"{len(twice)} runs overlap another of their rule: {[run.id for _, run in twice[:3]]}")
    findings.facts |= {
        "expected_runs_of_a_rule": round(found[0].expected, 1),
        "runs_of_a_rule": [min(beat.ran for beat in found), max(beat.ran for beat in found)],
        "skipped": sum(since.values()),
        "results": dict(Counter(run.result for run in runs)),
        "changes": world.changes,
        "changes_unreachable": world.unreachable,
        "outages": world.outages,
        "first_begin": begin.isoformat(timespec="seconds"),
    }
    for trend in trends(sampler.samples):
        least = GROWS.get(trend.name)
        grown = trend.end - trend.baseline
        findings.check(
            least is None or grown <= max(least, options.most_growth * trend.baseline),
            f"{trend.name} grew from {trend.baseline:,.0f} to {trend.end:,.0f}",
        )
    return sampler.samples


def _take(service: Process, files: Sequence[Path], seconds: float) -> Sample:
    return look(service.pid, seconds=seconds, state_files=files)


def _disturb(options: argparse.Namespace, world: World, service: Process, observer: Observer) -> None:
    """Move tags, kill and start registries, and collect runs, until the time is over."""
    begin = time.monotonic()
    span = options.minutes * 60
    due: list[tuple[float, Callable[[], object]]] = []
    for number in range(options.outages):
        at = span * (number + 0.5) / options.outages
        due += [(at, lambda: print(world.strike(), flush=True)), (at + options.outage, world.revive)]
    due.sort(key=lambda one: one[0])
    changed = polled = 0
    while (now := time.monotonic() - begin) < span:
        if not service.alive:
            raise RuntimeError(f"the service ended\n{service.tail()}")
        while due and due[0][0] <= now:
            due.pop(0)[1]()
        if changed < now * options.changes / 60:
            world.change()
            changed += 1
        elif polled <= now:
            observer.collect()
            polled += options.sample
        else:
            time.sleep(0.05)


def _end(service: Process, findings: Findings) -> None:
    """End the service in good order."""
    begin = time.monotonic()
    service.signal(signal.SIGTERM)
    with contextlib.suppress(Exception):
        findings.facts["exit_code"] = service.wait(DRAIN_S)
    findings.facts["seconds_to_end"] = round(time.monotonic() - begin, 1)
    code = findings.facts.get("exit_code")
    findings.check(code in {0, 143}, f"after SIGTERM the service ended with {code}")


def _configure(work: Path, world: World, schedule_s: float) -> Path:
    file = work / "config.yaml"
    rules = [
        {
            "name": route.rule,
            "source": f"{route.source.address}/{route.repository}",
            "targets": [f"{route.target.address}/{route.target_repository}"],
        }
        for route in world.routes
    ]
    file.write_text(
        json.dumps(
            {
                "version": 1,
                "registries": {registry.address: {"plain_http": True} for registry in world.registries},
                "defaults": {"schedule": f"{schedule_s:g}s"},
                "rules": rules,
            },
            indent=1,
        )
    )
    return file


def _tell(findings: Findings, found: Sequence[Trend]) -> None:
    print(f"\n{'':12} {'baseline':>14} {'end':>14} {'most':>14} {'growth':>8} {'an hour':>14}")
    for one in found:
        figures = [f"{value:14,.2f}" if one.name == "cpu" else f"{value:14,.0f}" for value in one[1:4]]
        print(f"{one.name:12} {' '.join(figures)} {one.growth:8.1%} {one.slope:+14,.0f}")
    for name, fact in findings.facts.items():
        print(f"{name}: {fact}")
    for fault in findings.faults:
        print(f"FAULT: {fault}", file=sys.stderr)
    print("FAILED" if findings.faults else "OK")


def _write_down(options: argparse.Namespace, findings: Findings, samples: Sequence[Sample]) -> None:
    out: Path = options.out or RESULTS / f"soak-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.local.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    asked = {name: value for name, value in vars(options).items() if isinstance(value, int | float) and name != "keep"}
    document = {
        "schema_version": 1,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "options": asked,
        "faults": findings.faults,
        "facts": findings.facts,
        "trends": [one._asdict() for one in trends(samples)],
        "columns": Sample._fields,
        "samples": samples,
    }
    out.write_text(json.dumps(document) + "\n")
    print(f"written to {out}")


def _seconds(text: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no time; 5s, 15m or 2h for instance")
    return float(match[1]) * _UNITS[match[2]]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long tags move (default: 10)")
    parser.add_argument("--rules", type=int, default=50, help="rules, with a repository each (default: 50)")
    parser.add_argument("--tags", type=int, default=20, help="tags of a repository at the start (default: 20)")
    parser.add_argument("--sources", type=int, default=2, help="registries that are read (default: 2)")
    parser.add_argument("--targets", type=int, default=2, help="registries that are written (default: 2)")
    parser.add_argument("--schedule", type=_seconds, default=5.0, help="of every rule (default: 5s)")
    parser.add_argument("--changes", type=float, default=60.0, help="tags that change a minute (default: 60)")
    parser.add_argument("--outages", type=int, default=2, help="times that a registry is killed (default: 2)")
    parser.add_argument("--outage", type=_seconds, default=10.0, help="how long it stays away (default: 10s)")
    parser.add_argument("--sample", type=_seconds, default=5.0, help="time between samples (default: 5s)")
    parser.add_argument("--most-growth", type=float, default=0.1, help="share that is no fault (default: 0.1)")
    parser.add_argument("--seed", type=int, default=1, help="decides images, changes and outages (default: 1)")
    parser.add_argument("--work-dir", type=Path, help="where all is stored; default: the one for temporary files")
    parser.add_argument("--keep", action="store_true", help="leave the directory with logs and samples.csv behind")
    parser.add_argument("--out", type=Path, help="file for the results; default: bench/results/soak-TIME.local.json")
    parser.add_argument("--command", nargs="+", help="what starts the service; default: mirrord of this checkout")
    options = parser.parse_args()
    options.command = options.command or [sys.executable, "-m", "mirrord", "sync"]
    if options.rules < 1 or options.tags < 1 or options.sources < 1 or options.targets < 1:
        parser.error("there must be one rule, tag, source and target at least")
    return options


if __name__ == "__main__":
    sys.exit(main())
