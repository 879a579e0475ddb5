"""One run: every rule is looked at, planned and, unless it is a dry run, carried out; then told as a report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, zip_longest

import anyio

from mirrord.oci.digest import Digest
from mirrord.oci.reference import Location, Tag
from mirrord.planning.plan import Decision, ImagePlan, TagPlan
from mirrord.planning.planner import plan_image
from mirrord.planning.report import Outcome, Problem, RuleReport, UnitResult
from mirrord.planning.rule import Rule
from mirrord.ports.events import ImagesPlanned, RuleStarted, UnitFinished
from mirrord.sync.choose import Choice, choose_tags, find_sources
from mirrord.sync.context import COPIES_AT_ONCE, LOOKS_AT_ONCE, Context
from mirrord.sync.late import attachment_tags, find_late
from mirrord.sync.observe import observe
from mirrord.sync.prepare import Planned, prepare
from mirrord.transfer.executor import Executor
from mirrord.transfer.side import each
from mirrord.transfer.unit import describe

SOURCES_AT_ONCE = 8
_SETTLED = {
    Decision.UP_TO_DATE: Outcome.IN_SYNC,
    Decision.SKIP: Outcome.SKIPPED,
    Decision.REFUSE: Outcome.BLOCKED,
    Decision.FAIL: Outcome.FAILED,
}


@dataclass(slots=True)
class RuleRun:
    """What is known of one rule while a run goes on; a report can be made of it at any moment."""

    rule: Rule
    listed: int = 0
    filtered: int = 0
    choices: list[Choice] = field(default_factory=list)
    planned: list[Planned] = field(default_factory=list)
    results: list[UnitResult] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    settled: set[tuple[Location, Location, tuple[Tag | None, Tag | None]]] = field(default_factory=set)

    def report(self) -> RuleReport:
        """Return the report of what happened so far."""
        return RuleReport(
            rule=self.rule.name,
            listed=self.listed,
            filtered=self.filtered,
            results=tuple(self.results),
            problems=tuple(self.problems),
            warnings=tuple(dict.fromkeys(self.warnings)),
        )


class Run:
    """One execution of rules. ``rules`` can be read while it goes on, also after it was cancelled."""

    def __init__(self, context: Context, rules: Sequence[Rule]) -> None:
        """Prepare a run of ``rules``; nothing is asked yet."""
        self.rules = [RuleRun(rule) for rule in rules]
        self._context = context
        self._by_rule = {run.rule.name: run for run in self.rules}
        context.hints.begin(context.clock)

    def conclude(self, reason: str) -> None:
        """Count what was planned and not done as skipped, so that a run that ended early adds up."""
        for run in self.rules:
            self._conclude(run, run.planned, Outcome.SKIPPED, None, reason)

    def fail(self, group: Sequence[Planned], error: Exception) -> None:
        """Settle the images of ``group`` as failed, as far as they are not settled yet."""
        problem = describe(unwrap(error))
        for planned in group:
            run = self._by_rule[planned.rule.name]
            self._conclude(run, [planned], Outcome.FAILED, problem)
            if planned.late:
                image = f"{planned.plan.source}@{planned.plan.root.digest}"
                run.warnings.append(f"{image}: whether attachments came later is not known: {problem}")

    def groups(self) -> list[list[Planned]]:
        """Return what needs work after `look`, in the order in which `carry_out` takes it, host after host."""
        lanes = [group_plans([run.planned for run in runs]) for runs in self._lanes()]
        return list(chain.from_iterable(lanes))

    async def carry_out(self, executor: Executor) -> None:
        """Look at all rules and copy what is needed. Rules of one source host share reads; hosts don't wait."""

        async def lane(runs: Sequence[RuleRun]) -> None:
            await each(runs, self._look, SOURCES_AT_ONCE)
            groups = group_plans([run.planned for run in runs])
            await each(groups, lambda group: self._copy(group, executor), COPIES_AT_ONCE) if groups else None

        async with anyio.create_task_group() as group:
            for runs in self._lanes():
                group.start_soon(lane, runs)

    async def look(self) -> None:
        """Look at all rules and plan, without changing anything."""
        async with anyio.create_task_group() as group:
            for runs in self._lanes():
                for run in runs:
                    group.start_soon(self._look, run)

    def _lanes(self) -> list[list[RuleRun]]:
        """Return the rules by source host: those that may share reads."""
        lanes: dict[str, list[RuleRun]] = {}
        for run in self.rules:
            lanes.setdefault(run.rule.source.host, []).append(run)
        return list(lanes.values())

    async def _look(self, run: RuleRun) -> None:
        """Gather and plan one rule; whatever goes wrong with its source is its own problem."""
        self._context.events.emit(RuleStarted(rule=run.rule.name))
        try:
            sources = await find_sources(self._context, run.rule)
        except Exception as exc:  # noqa: BLE001 - whatever one rule meets, the others are carried out
            run.problems.append(describe(unwrap(exc)))
            return
        if not sources:
            run.warnings.append(f"no repository matches the source of rule {run.rule.name}")
            return
        await each(sources, lambda source: self._look_at(run, source), SOURCES_AT_ONCE)

    async def _look_at(self, run: RuleRun, source: Location) -> None:
        try:
            choice = await choose_tags(self._context, run.rule, source)
            looks = await observe(self._context, run.rule, choice)
            plans = [
                Planned(rule=run.rule, plan=plan_image(run.rule, seen.observation), wanted=seen.wanted)
                for seen in looks.images
            ]
            plans = await self._find_late(run.rule, source, plans)
        except Exception as exc:  # noqa: BLE001 - whatever one source meets, the others are looked at
            run.problems.append(describe(unwrap(exc)))
            return
        listed = max(len(choice.selection.choices), 1 if choice.digest is not None else 0)
        run.choices.append(choice)
        run.listed += listed * len(run.rule.targets)
        run.filtered += (len(choice.selection.choices) - len(choice.selection.taken)) * len(run.rule.targets)
        run.warnings += [*choice.warnings, *looks.warnings, *self._context.hints.warnings(_places(source, plans))]
        run.planned += plans
        for result in chain(looks.settled, chain.from_iterable(settled_results(planned.plan) for planned in plans)):
            self._settle(run, result, carried_out=False)
        changes = [target for planned in plans for target in planned.plan.changes]
        tags = sum(len(target.changes) for target in changes)
        self._context.events.emit(ImagesPlanned(rule=run.rule.name, images=len(plans), units=len(changes), tags=tags))

    async def _find_late(self, rule: Rule, source: Location, plans: Sequence[Planned]) -> list[Planned]:
        """Mark the images that are served already, but may lack attachments that came later."""
        tags = attachment_tags(self._context, source)
        reader = self._context.gateway.reader(source)

        async def look(planned: Planned) -> Planned:
            if planned.plan.rewritten is not None:
                return planned
            served = [
                self._context.gateway.writer(target.target)
                for target in planned.plan.targets
                if not target.changes and any(tag.decision is Decision.UP_TO_DATE for tag in target.tags)
            ]
            theirs = tags.get(planned.plan.root.digest, [])
            return replace(planned, late=await find_late(self._context, rule, reader, served, theirs))

        return await each(plans, look, LOOKS_AT_ONCE) if plans else []

    def _settle(self, run: RuleRun, result: UnitResult, *, carried_out: bool = True) -> None:
        run.results.append(result)
        run.settled.update((result.source, result.target, pair) for pair in result.tags)
        self._context.events.emit(UnitFinished(result=result, carried_out=carried_out))

    async def _copy(self, group: Sequence[Planned], executor: Executor) -> None:
        """Copy one image for all rules and targets that want it; never raises for what goes wrong with the image."""
        try:
            await self._carry(group, executor)
        except Exception as exc:  # noqa: BLE001 - whatever one image meets, the others are copied
            self.fail(group, exc)

    async def _carry(self, group: Sequence[Planned], executor: Executor) -> None:
        job = await prepare(self._context, group)
        first = self._by_rule[group[0].rule.name]
        first.warnings += self._context.hints.warnings(_places(group[0].plan.source, group))
        if job is None:
            return
        self._context.hints.note_job(job)
        reader = self._context.gateway.reader(job.source)
        writers = {order.target.target: self._context.gateway.writer(order.target.target) for order in job.orders}
        late = {(order.rule, order.target.target) for order in job.orders if order.serves_root}

        def settle(result: UnitResult) -> None:
            run = self._by_rule[result.rule]
            if (result.rule, result.target) in late:
                withdraw(run, result)
            self._settle(run, result)

        await executor.carry_out(job, reader, writers, settle=settle)

    def _conclude(
        self, run: RuleRun, planned: Sequence[Planned], outcome: Outcome, problem: Problem | None, reason: str = ""
    ) -> None:
        """Settle the tags that were to be written and have no result yet."""
        for plan in [one.plan for one in planned]:
            for target in plan.changes:
                keys = [(plan.source, target.target, (tag.source_tag, tag.target_tag)) for tag in target.changes]
                left = [tag for key, tag in zip(keys, target.changes, strict=True) if key not in run.settled]
                if left:
                    result = _result(plan, target.target, left, outcome, reason or str(problem))
                    self._settle(run, replace(result, problem=problem))


def group_plans(rules: Sequence[Sequence[Planned]]) -> list[list[Planned]]:
    """Return the plans that need work, those for the same content together, rules taking turns."""
    groups: dict[object, list[Planned]] = {}
    for planned in chain.from_iterable(zip_longest(*rules)):
        if planned is not None and planned.needs_work:
            groups.setdefault(planned.key, []).append(planned)
    return list(groups.values())


def settled_results(plan: ImagePlan) -> list[UnitResult]:
    """Return the results of the tags of a plan that need no copy."""
    results = []
    for target in plan.targets:
        for decision, outcome in _SETTLED.items():
            for reason, tags in _by_reason(target.tags, decision).items():
                results.append(_result(plan, target.target, tags, outcome, reason))
    return results


def unwrap(error: Exception) -> Exception:
    """Return the first error of an exception group, else the error itself."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error


def withdraw(run: RuleRun, late: UnitResult) -> None:
    """Take back the "in sync" of an image whose attachments turned out to be missing: it counts once."""
    for index, result in enumerate(run.results):
        same = result.target == late.target and result.source == late.source and result.digest == late.digest
        if same and result.outcome is Outcome.IN_SYNC:
            left = tuple(pair for pair in result.tags if pair not in late.tags)
            run.results[index] = replace(result, tags=left)
    run.results[:] = [result for result in run.results if result.tags]


def _places(source: Location, plans: Sequence[Planned]) -> list[Location]:
    """Return the source and all targets of plans."""
    return [source, *(target.target for planned in plans for target in planned.plan.targets)]


def _by_reason(tags: Sequence[TagPlan], decision: Decision) -> dict[str, list[TagPlan]]:
    found: dict[str, list[TagPlan]] = {}
    for tag in tags:
        if tag.decision is decision:
            found.setdefault(tag.reason, []).append(tag)
    return found


def _result(plan: ImagePlan, target: Location, tags: Sequence[TagPlan], outcome: Outcome, reason: str) -> UnitResult:
    pairs: tuple[tuple[Tag | None, Tag | None], ...] = tuple((tag.source_tag, tag.target_tag) for tag in tags)
    served: Digest | None = plan.wanted.digest if outcome is Outcome.IN_SYNC else tags[0].before
    return UnitResult(
        rule=plan.rule,
        source=plan.source,
        target=target,
        tags=pairs,
        outcome=outcome,
        reason=reason,
        digest=plan.root.digest,
        served=served,
        problem=tags[0].problem,
    )
