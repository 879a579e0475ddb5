"""Says what a run would do and cost, without doing it: for `mirrord plan`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from mirrord.errors import MirrordError
from mirrord.oci.descriptor import Descriptor
from mirrord.oci.digest import Digest
from mirrord.oci.reference import Location
from mirrord.planning.estimate import Estimate, Estimator
from mirrord.planning.graph import ImageGraph
from mirrord.planning.plan import ImagePlan, TagPlan, TargetPlan
from mirrord.planning.report import Outcome, UnitResult
from mirrord.planning.rule import ForeignLayers
from mirrord.sync.context import COPIES_AT_ONCE, LOOKS_AT_ONCE, Context
from mirrord.sync.prepare import Planned, prepare
from mirrord.sync.rulerun import withdraw
from mirrord.sync.run import Run
from mirrord.transfer.job import CopyJob, Order
from mirrord.transfer.side import each
from mirrord.transfer.unit import describe


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What would be done for one image on one target. ``root`` is what the source has, ``wanted`` what would be served.

    ``attachments`` counts signatures, SBOMs and the like that come along. What several targets share, such as reading
    at the source, stands in the estimate of the first of them.
    """

    rule: str
    source: Location
    target: Location
    root: Digest
    wanted: Digest
    tags: tuple[TagPlan, ...]
    attachments: int
    estimate: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What a run would do: the changes in the order of the run, and their sum.

    All that is not a change stands in the results of the run's rules.
    """

    changes: tuple[Change, ...]
    total: Estimate
    warnings: tuple[str, ...] = ()


async def forecast(context: Context, run: Run) -> Forecast:
    """Look at all rules of ``run`` and say what carrying it out would do; nothing is written anywhere.

    Images whose content the source cannot tell become failed results of the run.
    """
    await run.look()
    forecaster = _Forecaster(context, run)
    groups = run.groups()
    # Group by group, a bounded number side by side: the content of all images together may be too much to hold.
    for begin in range(0, len(groups), COPIES_AT_ONCE):
        await forecaster.add(groups[begin : begin + COPIES_AT_ONCE])
    return forecaster.result()


class _Forecaster:
    """Adds up groups of plans in the order in which a run takes them."""

    def __init__(self, context: Context, run: Run) -> None:
        self._context = context
        self._run = run
        self._estimator = Estimator()
        self._changes: list[Change] = []
        self._asked: set[tuple[Location, Digest]] = set()
        self._mute: dict[Location, str] = {}

    def result(self) -> Forecast:
        """Return what was added up."""
        return Forecast(changes=tuple(self._changes), total=self._estimator.total, warnings=tuple(self._mute.values()))

    async def add(self, groups: Sequence[Sequence[Planned]]) -> None:
        """Add groups: fetch what they consist of, ask the targets what they hold, then count."""
        jobs = [job for job in await each(groups, self._prepare, COPIES_AT_ONCE) if job is not None]
        held = await self._ask(jobs)
        for job in jobs:
            self._count(job, held)
            held = ()  # the estimator remembers

    async def _prepare(self, group: Sequence[Planned]) -> CopyJob | None:
        try:
            async with self._context.gateway.reader(group[0].plan.source).turn():
                job = await prepare(self._context, group)
        except Exception as exc:  # noqa: BLE001 - the same boundary as in a run: one image's failure is its own
            self._run.fail(group, exc)
            return None
        if job is not None:
            self._run.block(job)
        return job if job is not None and job.orders else None

    async def _ask(self, jobs: Sequence[CopyJob]) -> Collection[tuple[Location, Digest]]:
        """Return which of the blobs the targets hold already; each is asked for once."""
        wanted: dict[tuple[Location, Digest], Descriptor] = {}
        for job in jobs:
            for order in job.orders:
                for blob in job.blobs(order):
                    wanted.setdefault((order.target.target, blob.digest), blob)
        fresh = [key for key in wanted if key not in self._asked]
        self._asked.update(fresh)

        async def ask(key: tuple[Location, Digest]) -> bool:
            location = key[0]
            if location in self._mute:
                return False
            try:
                return await self._context.gateway.writer(location).has_blob(wanted[key])
            except MirrordError as exc:
                self._mute[location] = f"{location} cannot say which blobs it holds: {describe(exc)}"
                return False

        answers = await each(fresh, ask, LOOKS_AT_ONCE) if fresh else []
        return [key for key, has in zip(fresh, answers, strict=True) if has]

    def _count(self, job: CopyJob, held: Collection[tuple[Location, Digest]]) -> None:
        estimates: dict[Location, Estimate] = {}
        metered = self._context.gateway.reader(job.source).metered
        for graph, targets in _parts(job):
            plan = ImagePlan(
                rule=job.orders[0].rule,
                source=job.source,
                root=job.root if graph is job.graph else graph.root.descriptor,
                wanted=graph.root.descriptor,
                targets=tuple(targets),
            )
            fetch = any(order.policy.foreign_layers is ForeignLayers.FETCH for order in job.orders)
            counted = self._estimator.add(plan, graph, held, fetch_foreign=fetch, metered=metered)
            _merge(estimates, counted)
        for order in job.orders:
            if order.serves_root:
                self._withdraw(job, order)
            self._changes.append(
                Change(
                    rule=order.rule,
                    source=job.source,
                    target=order.target.target,
                    root=job.root.digest,
                    wanted=job.graph.root.descriptor.digest,
                    tags=order.target.changes,
                    attachments=len(job.attachments),
                    estimate=estimates.pop(order.target.target, Estimate()),
                )
            )

    def _withdraw(self, job: CopyJob, order: Order) -> None:
        """Take back that an image is in sync whose attachments are missing: it is a change."""
        late = UnitResult(
            rule=order.rule,
            source=job.source,
            target=order.target.target,
            tags=tuple((tag.source_tag, tag.target_tag) for tag in order.target.changes),
            outcome=Outcome.SKIPPED,
            reason="",
            digest=job.root.digest,
        )
        for run in self._run.rules:
            if run.rule.name == order.rule:
                withdraw(run, late)


def _parts(job: CopyJob) -> list[tuple[ImageGraph, list[TargetPlan]]]:
    """Return the graphs of a job with the targets that need each; tags of one location stand together."""
    image = _by_location([order for order in job.orders if not order.serves_root])
    parts = [(job.graph, image)] if image else []
    everywhere = [TargetPlan(target=target.target, tags=target.changes[:1]) for target in _by_location(job.orders)]
    return parts + [(attachment.graph, everywhere) for attachment in job.attachments]


def _by_location(orders: Sequence[Order]) -> list[TargetPlan]:
    found: dict[Location, TargetPlan] = {}
    for order in orders:
        known = found.get(order.target.target)
        tags = (*known.tags, *order.target.changes) if known is not None else order.target.changes
        found[order.target.target] = replace(order.target, tags=tags)
    return list(found.values())


def _merge(into: dict[Location, Estimate], more: Mapping[Location, Estimate]) -> None:
    for location, estimate in more.items():
        into[location] = into.get(location, Estimate()) + estimate
