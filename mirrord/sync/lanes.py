"""Which rules of a run are looked at together, and when: those of one source host, after the rules that feed them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import anyio

from mirrord.planning.chains import Chains
from mirrord.sync.rulerun import RuleRun


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """Rules that share reads, and the names of those that all of them wait for."""

    runs: Sequence[RuleRun]
    after: frozenset[str]


def lanes_of(runs: Sequence[RuleRun], chains: Chains) -> list[Lane]:
    """Return the rules by source host and by whom they wait for; a lane stands after all that it waits for."""
    found: dict[tuple[int, str, frozenset[str]], list[RuleRun]] = {}
    for run in runs:
        name = run.rule.name
        key = (chains.depth[name], run.rule.source.host, chains.before[name])
        found.setdefault(key, []).append(run)
    ordered = sorted(found.items(), key=lambda entry: entry[0][0])
    return [Lane(runs=members, after=after) for (_, _, after), members in ordered]


class Turns:
    """Tells those who wait for rules when these are done."""

    def __init__(self, names: Collection[str]) -> None:
        """Begin with no rule done."""
        self._done = {name: anyio.Event() for name in names}

    def done(self, *names: str) -> None:
        """Say that rules are done, however they ended."""
        for name in names:
            self._done[name].set()

    async def wait(self, names: Collection[str]) -> None:
        """Return when all ``names`` are done."""
        for name in names:
            await self._done[name].wait()
