"""Measurements as text: one line a run, one table a workload, and the verdicts against the goals."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from typing import Protocol

from bench.seeds import MIB, Scenario

OURS = "mirrord"
JUDGED_AGAINST = "skopeo"
HEAD = (
    f"{'tool':<9}{'wall s: median (min-max)':>28}{'cpu s':>9}{'peak MiB':>10}"
    f"{'source':>9}{'target':>9}{'read MiB':>10}{'stored MiB':>12}"
)


class Measured(Protocol):
    """The figures of one run."""

    @property
    def scenario(self) -> str: ...
    @property
    def step(self) -> str: ...
    @property
    def tool(self) -> str: ...
    @property
    def round(self) -> int: ...
    @property
    def wall_s(self) -> float: ...
    @property
    def cpu_s(self) -> float: ...
    @property
    def peak_bytes(self) -> int: ...
    @property
    def source_requests(self) -> int: ...
    @property
    def target_requests(self) -> int: ...
    @property
    def read_bytes(self) -> int: ...
    @property
    def stored_bytes(self) -> int: ...


def line(run: Measured) -> str:
    """Return one run as a line, printed while the benchmark goes on."""
    name = f"{run.scenario:<6} {run.step:<6} round {run.round}  {run.tool:<8}"
    cost = f"{run.wall_s:8.2f} s wall {run.cpu_s:8.2f} s cpu {run.peak_bytes / MIB:7.0f} MiB"
    return f"  {name} {cost}  {run.source_requests}+{run.target_requests} requests"


def tables(runs: Sequence[Measured], scenarios: Iterable[Scenario], *, judge: bool) -> str:
    """Return a table for each workload and pass.

    Args:
        runs: All measurements.
        scenarios: The workloads, in the order of the tables.
        judge: Whether the goals apply: small workloads say nothing about them.
    """
    blocks = []
    for scenario in scenarios:
        for step, goal in zip(("first", "again"), scenario.goals, strict=False):
            chosen = [run for run in runs if (run.scenario, run.step) == (scenario.name, step)]
            if chosen:
                blocks.append(_table(f"{scenario.name}, {step} pass", chosen, goal if judge else None))
    return "\n".join(blocks)


def _table(title: str, runs: Sequence[Measured], goal: float | None) -> str:
    by_tool: dict[str, list[Measured]] = {}
    for run in runs:
        by_tool.setdefault(run.tool, []).append(run)
    rows = [f"\n{title}", HEAD, *(_row(tool, measured) for tool, measured in by_tool.items())]
    for rival, measured in by_tool.items():
        ratios = _ratios(by_tool.get(OURS, []), measured)
        if rival != OURS and ratios:
            verdict = _verdict(statistics.median(ratios), goal) if rival == JUDGED_AGAINST and goal else ""
            rows.append(f"{OURS} / {rival}: {_spread(ratios)}{verdict}")
    return "\n".join(rows)


def _row(tool: str, runs: Sequence[Measured]) -> str:
    def middle(values: Iterable[float]) -> float:
        return statistics.median(values)

    return (
        f"{tool:<9}{_spread([run.wall_s for run in runs]):>28}"
        f"{middle(run.cpu_s for run in runs):>9.2f}"
        f"{middle(run.peak_bytes for run in runs) / MIB:>10.0f}"
        f"{middle(run.source_requests for run in runs):>9.0f}"
        f"{middle(run.target_requests for run in runs):>9.0f}"
        f"{middle(run.read_bytes for run in runs) / MIB:>10.1f}"
        f"{middle(run.stored_bytes for run in runs) / MIB:>12.1f}"
    )


def _ratios(ours: Sequence[Measured], theirs: Sequence[Measured]) -> list[float]:
    """Divide our time by theirs, round by round: what slows the machine for a while slows both of a pair."""
    rival = {run.round: run.wall_s for run in theirs}
    return [run.wall_s / rival[run.round] for run in ours if run.round in rival]


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})"


def _verdict(ratio: float, goal: float) -> str:
    return f"  goal <= {goal:g}: {'OK' if ratio <= goal else 'MISS'}"
