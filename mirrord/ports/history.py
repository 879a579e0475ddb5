"""What the service remembers of runs and rules, and what is asked about images: for the page, the API, and restarts."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from mirrord.planning.memory import ImageState, TargetSummary
from mirrord.planning.status import ImagePage, QuotaStatus, RunPage, RunStatus, Saved


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleMemory:
    """What is remembered of a rule: its last run, when its source was last seen, when all was last in sync."""

    last_run: RunStatus | None = None
    last_looked: datetime | None = None
    last_success: datetime | None = None


ImagePlace = tuple[str, str, str, str]
"""An image by its rule, source, tag (or digest, where it is named by that) and target."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageQuery:
    """Which images are asked for. Empty or None: any. ``search`` is looked for in source, tag, target and digests.

    ``after`` is the ``next`` of the page before. ``live`` are states that hold at this moment in place of those that
    are remembered: images are chosen and shown by them.
    """

    rule: str | None = None
    states: Collection[ImageState] = ()
    search: str = ""
    limit: int = 100
    after: str | None = None
    live: Mapping[ImagePlace, ImageState] = field(default_factory=dict, hash=False)


class History(Protocol):
    """Keeps runs and answers questions. Unlike `Memory` it raises for a store that fails.

    Every method raises `StateError` where the store cannot be used.
    """

    async def rules(self) -> Mapping[str, RuleMemory]:
        """Return what is remembered of each rule, by name."""
        ...

    async def forget_rules(self, left: Collection[str]) -> None:
        """Forget images and summaries of rules that are not in the configuration any more. Runs and ownership stay."""
        ...

    async def summary(self, rule: str) -> Sequence[TargetSummary]:
        """Return a rule's images counted by target and state."""
        ...

    async def images(self, query: ImageQuery) -> ImagePage:
        """Return images, a page at a time.

        Raises:
            UsageError: ``after`` was not made by this store.
        """
        ...

    async def save_run(self, run: RunStatus, *, looked: bool) -> None:
        """Remember a run, begun or ended; ``looked``: its source could be seen, to its end."""
        ...

    async def run(self, run: str) -> RunStatus | None:
        """Return one run with its changes; None: it is not known, or not any more."""
        ...

    async def runs(self, *, rule: str | None = None, limit: int = 50, after: str | None = None) -> RunPage:
        """Return runs without their changes, the newest first.

        Raises:
            UsageError: ``after`` was not made by this store.
        """
        ...

    async def saved(self, since: datetime) -> Saved:
        """Return what runs that ended after a moment did not have to send."""
        ...

    async def keep_quota(self, quota: QuotaStatus) -> None:
        """Remember what a registry said of its quota."""
        ...

    async def quotas(self) -> Sequence[QuotaStatus]:
        """Return what each registry said last of its quota."""
        ...

    async def owned(self, rule: str) -> Mapping[str, frozenset[str]]:
        """Return the tags that a rule created, by target: what may be pruned."""
        ...

    async def trim(self, now: datetime) -> int:
        """Forget what is older than is kept; return how many rows that were."""
        ...

    async def check(self, *, whole: bool = True) -> None:
        """See that the store can be read and written; without ``whole`` only what costs next to nothing.

        Raises:
            StateError: it cannot.
        """
        ...
