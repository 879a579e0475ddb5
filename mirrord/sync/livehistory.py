"""The history as it is at this moment: images that a run is bringing somewhere are told as on their way."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from mirrord.planning.memory import ImageState, TargetSummary
from mirrord.planning.status import ImagePage, QuotaStatus, RunPage, RunStatus, Saved
from mirrord.ports.history import History, ImagePlace, ImageQuery, RuleMemory
from mirrord.sync.health import STALLED_S
from mirrord.sync.slots import Running

MOST_LIVE = 3_000
"""Images on their way that are told as such; a store may not take many more in one question."""


@dataclass(frozen=True, slots=True)
class LiveHistory(History):
    """A history, and what the runs that go on know better. ``running`` returns these."""

    history: History
    running: Callable[[], Sequence[Running]]

    async def images(self, query: ImageQuery) -> ImagePage:
        """Return images; those on their way are chosen and counted as such, and as nothing else."""
        return await self.history.images(replace(query, live=live_states(self.running())))

    async def rules(self) -> Mapping[str, RuleMemory]:
        """Return what is remembered of each rule, by name."""
        return await self.history.rules()

    async def forget_rules(self, left: Collection[str]) -> None:
        """Forget images and summaries of rules that are not in the configuration any more."""
        await self.history.forget_rules(left)

    async def summary(self, rule: str) -> Sequence[TargetSummary]:
        """Return a rule's images counted by target and state, as they are remembered."""
        return await self.history.summary(rule)

    async def save_run(self, run: RunStatus, *, looked: bool) -> None:
        """Remember a run, begun or ended."""
        await self.history.save_run(run, looked=looked)

    async def run(self, run: str) -> RunStatus | None:
        """Return one run with its changes; None: it is not known, or not any more."""
        return await self.history.run(run)

    async def runs(self, *, rule: str | None = None, limit: int = 50, after: str | None = None) -> RunPage:
        """Return runs without their changes, the newest first."""
        return await self.history.runs(rule=rule, limit=limit, after=after)

    async def saved(self, since: datetime) -> Saved:
        """Return what runs that ended after a moment did not have to send."""
        return await self.history.saved(since)

    async def keep_quota(self, quota: QuotaStatus) -> None:
        """Remember what a registry said of its quota."""
        await self.history.keep_quota(quota)

    async def quotas(self) -> Sequence[QuotaStatus]:
        """Return what each registry said last of its quota."""
        return await self.history.quotas()

    async def owned(self, rule: str) -> Mapping[str, frozenset[str]]:
        """Return the tags that a rule created, by target: what may be pruned."""
        return await self.history.owned(rule)

    async def trim(self, now: datetime) -> int:
        """Forget what is older than is kept; return how many rows that were."""
        return await self.history.trim(now)

    async def check(self, *, whole: bool = True) -> None:
        """See that the store can be read and written; without ``whole`` only what costs next to nothing."""
        await self.history.check(whole=whole)


def live_states(running: Sequence[Running]) -> dict[ImagePlace, ImageState]:
    """Return the state of each image that runs are bringing to a target; a run in which nothing happens is stalled."""
    found: dict[ImagePlace, ImageState] = {}
    for one in running:
        state = ImageState.STALLED if one.meter.idle_s > STALLED_S else ImageState.COPYING
        for source, target, tag in one.meter.copying:
            if len(found) == MOST_LIVE:
                return found
            ref = tag if tag is not None else one.rule.source.digest  # one without a tag is named by its digest
            found[one.rule.name, str(source), str(ref), str(target)] = state
    return found
