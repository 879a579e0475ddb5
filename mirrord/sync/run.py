"""One run: every rule is looked at, planned and, unless it is a dry run, carried out; then told as a report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace
from itertools import chain, zip_longest

import anyio

from mirrord.errors import NotFoundError
from mirrord.oci.descriptor import Descriptor
from mirrord.oci.digest import Digest
from mirrord.oci.reference import Location, Tag
from mirrord.planning.chains import chain_rules
from mirrord.planning.keeping import Heard
from mirrord.planning.plan import Decision, ImagePlan, TagPlan
from mirrord.planning.planner import plan_image
from mirrord.planning.report import Outcome, Problem, UnitResult
from mirrord.planning.rule import OnRollback, Rule
from mirrord.ports.events import GuardRefused, ImagesPlanned, RuleStarted, UnitFinished, UnitStarted
from mirrord.sync.ahead import Ahead, to_come, why_open
from mirrord.sync.choose import choose_tags, find_sources
from mirrord.sync.context import COPIES_AT_ONCE, Context
from mirrord.sync.lanes import Lane, Turns, lanes_of
from mirrord.sync.observe import observe
from mirrord.sync.prepare import LATE, Planned, prepare
from mirrord.sync.recheck import fold, look_for_late
from mirrord.sync.remembered import Remembered, recall
from mirrord.sync.rollback import rollback_warnings, with_history
from mirrord.sync.rulerun import RuleRun, withdraw
from mirrord.sync.slices import slices
from mirrord.transfer.executor import Executor
from mirrord.transfer.job import CopyJob
from mirrord.transfer.side import each
from mirrord.transfer.unit import describe

SOURCES_AT_ONCE = 8
_NO_HISTORY = (
    "on_rollback is block, and nothing is remembered from run to run: a tag that returns to an older digest is not "
    "noticed, and copied all the same"
)
_SETTLED = {
    Decision.UP_TO_DATE: Outcome.IN_SYNC,
    Decision.SKIP: Outcome.SKIPPED,
    Decision.REFUSE: Outcome.BLOCKED,
    Decision.FAIL: Outcome.FAILED,
}

_GUARDS = {"TAG_IMMUTABLE": "immutable", "OVERWRITE_FORBIDDEN": "overwrite", "ROLLBACK_BLOCKED": "rollback"}
"""What kept a tag from moving, by the code of the problem."""


class Run:
    """One execution of rules. ``rules`` can be read while it goes on, also after it was cancelled."""

    def __init__(self, context: Context, rules: Sequence[Rule]) -> None:
        """Prepare a run of ``rules``; nothing is asked yet."""
        self.rules = [RuleRun(rule) for rule in rules]
        self._context = context
        self._by_rule = {run.rule.name: run for run in self.rules}
        self._chains = chain_rules(rules)
        for run in self.rules:
            run.warnings += self._chains.warnings(run.rule.name)
            if run.rule.policy.on_rollback is OnRollback.BLOCK and not context.memory.remembers:
                run.warnings.append(_NO_HISTORY)
        context.hints.begin(context.clock)
        self._stopped = False
        self._looks: set[anyio.CancelScope] = set()

    @property
    def is_stopped(self) -> bool:
        """Whether it was told to begin nothing new."""
        return self._stopped

    def stop(self) -> None:
        """Begin nothing new: images that are being copied are finished, looks are broken off, the rest is left.

        `carry_out` then ends soon; `conclude` counts what was left.
        """
        self._stopped = True
        for scope in self._looks:
            scope.cancel()

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
        lanes = lanes_of(self.rules, self._chains)
        return list(chain.from_iterable(group_plans([run.planned for run in lane.runs]) for lane in lanes))

    async def carry_out(self, executor: Executor) -> None:
        """Look at all rules and copy what is needed. Rules of one source host share reads; hosts don't wait.

        A rule that reads what others write begins when these are done, however they ended.
        """
        turns = Turns(self._by_rule)
        async with anyio.create_task_group() as group:
            for lane in lanes_of(self.rules, self._chains):
                group.start_soon(self._carry_out_lane, lane, turns, executor)

    async def _carry_out_lane(self, lane: Lane, turns: Turns, executor: Executor) -> None:
        await turns.wait(lane.after)
        self._forget_what_changed(lane.after)
        await each(lane.runs, self._look, SOURCES_AT_ONCE)
        groups = group_plans([run.planned for run in lane.runs])
        left = Counter(name for group in groups for name in _rules_of(group))
        turns.done(*(run.rule.name for run in lane.runs if not left[run.rule.name]))

        async def copy(group: Sequence[Planned]) -> None:
            await self._copy(group, executor)
            left.subtract(_rules_of(group))
            turns.done(*(name for name in _rules_of(group) if not left[name]))

        if groups:
            await each(groups, copy, COPIES_AT_ONCE)

    def _forget_what_changed(self, rules: Collection[str]) -> None:
        """Let those who read next what ``rules`` wrote ask anew: it may have been listed before."""
        for location in {target for rule in rules for target in self._by_rule[rule].written()}:
            self._context.listings.forget(location)
            self._context.resolutions.forget(location)

    async def look(self) -> None:
        """Look at all rules and plan, without changing anything.

        A rule that reads what others would write is looked at after these, so that it can be said what is to come.
        """
        turns = Turns(self._by_rule)
        ahead = Ahead(self._chains.before)

        async def look(run: RuleRun) -> None:
            await turns.wait(self._chains.before[run.rule.name])
            run.arriving = ahead.arriving(run.rule)
            run.warnings += why_open(run.arriving)
            await self._look(run)
            ahead.add(run.rule, run.planned, run.arriving)
            turns.done(run.rule.name)

        async with anyio.create_task_group() as group:
            for run in self.rules:
                group.start_soon(look, run)

    async def _look(self, run: RuleRun) -> None:
        """Gather and plan one rule, unless the run is stopped; what goes wrong with its source is its own problem."""
        if self._stopped:
            return
        self._context.events.emit(RuleStarted(rule=run.rule.name))
        with anyio.CancelScope() as scope:
            self._looks.add(scope)
            await self._look_at_all(run)
        self._looks.discard(scope)
        run.looked = run.looked and not scope.cancelled_caught

    async def _look_at_all(self, run: RuleRun) -> None:
        try:
            sources = await find_sources(self._context, run.rule)
        except Exception as exc:  # noqa: BLE001 - whatever one rule meets, the others are carried out
            run.problems.append(describe(unwrap(exc)))
            return
        run.looked = bool(sources)
        if not sources:
            run.warnings.append(f"no repository matches the source of rule {run.rule.name}")
            return
        self._context.memory.drop_sources(run.rule.name, sources)
        await each(sources, lambda source: self._look_at(run, source), SOURCES_AT_ONCE)

    async def _look_at(self, run: RuleRun, source: Location) -> None:
        context, rule = self._context, run.rule
        try:
            remembered = await recall(context.memory, rule, source, context.clock.now())
            choice = await choose_tags(context, rule, source, remembered)
            looks = await observe(context, rule, choice, remembered)
            images = await with_history(context, rule, source, looks.images, remembered)
            plans = [
                Planned(rule=rule, plan=plan_image(rule, seen.observation), wanted=seen.wanted)
                async for part in slices(images)
                for seen in part
            ]
            plans = await look_for_late(context, rule, source, plans, remembered)
        except Exception as exc:  # noqa: BLE001 - whatever one source meets, the others are looked at
            run.looked = False
            if not isinstance(unwrap(exc), NotFoundError) or source not in run.arriving:
                run.problems.append(describe(unwrap(exc)))
            return
        listed = max(len(choice.selection.choices), 1 if choice.digest is not None else 0)
        run.choices.append(choice)
        run.listed += listed * len(run.rule.targets)
        run.filtered += (len(choice.selection.choices) - len(choice.selection.taken)) * len(run.rule.targets)
        run.warnings += [*choice.warnings, *looks.warnings, *self._context.hints.warnings(_places(source, plans))]
        run.warnings += [
            line for seen, one in zip(images, plans, strict=True) for line in rollback_warnings(seen, one.plan)
        ]
        run.looked = run.looked and looks.seen
        settled = [to_come(result, run.rule, run.arriving) for result in looks.settled]
        await self._remember_look(run, remembered, plans, _unchanged(looks.settled, settled))
        run.planned += plans
        settled += chain.from_iterable(settled_results(planned.plan) for planned in plans)
        async for results in slices(settled):
            for result in results:
                self._settle(run, result, carried_out=False)
        changes = [target for planned in plans for target in planned.plan.changes]
        tags = sum(len(target.changes) for target in changes)
        self._context.events.emit(ImagesPlanned(rule=run.rule.name, images=len(plans), units=len(changes), tags=tags))

    async def _remember_look(
        self, run: RuleRun, remembered: Remembered, plans: Sequence[Planned], settled: Sequence[UnitResult]
    ) -> None:
        """Keep what the look found out before anything is written: also a run that breaks off tells the truth.

        What the rule does not take any more is forgotten, unless a listing that may lack tags is all there is to go by.
        """
        run.remembered[remembered.source] = remembered
        async for part in slices(plans):
            remembered.take_plans((planned.plan, planned.late) for planned in part)
        remembered.take_settled(settled)
        named = run.rule.source.tag or run.rule.source.digest or run.rule.tags.literal_tags
        known = self._context.listings.known(remembered.source)
        remembered.close(complete=bool(named) or known is None or known.complete)

    def _settle(self, run: RuleRun, result: UnitResult, *, carried_out: bool = True) -> None:
        run.results.append(result)
        run.settled.update((result.source, result.target, pair) for pair in result.tags)
        self._context.events.emit(UnitFinished(result=result, carried_out=carried_out))
        guard = _GUARDS.get(result.problem.code) if result.problem is not None else None
        if guard is not None and result.outcome is Outcome.BLOCKED:
            for _ in result.tags:
                self._context.events.emit(GuardRefused(rule=result.rule, reason=guard))

    def _finish(
        self, run: RuleRun, result: UnitResult, heard: Heard | None = None, *, carried_out: bool = True
    ) -> None:
        """Settle an image that was to be written, and remember what came of it."""
        if (remembered := run.remembered.get(result.source)) is not None:
            remembered.take_result(result, self._context.clock.now(), heard)
        self._settle(run, result, carried_out=carried_out)

    async def _copy(self, group: Sequence[Planned], executor: Executor) -> None:
        """Copy one image for all rules and targets that want it; never raises for what goes wrong with the image."""
        if self._stopped:
            return
        try:
            await self._carry(group, executor)
        except Exception as exc:  # noqa: BLE001 - whatever one image meets, the others are copied
            self.fail(group, exc)

    async def _carry(self, group: Sequence[Planned], executor: Executor) -> None:
        first = self._by_rule[group[0].rule.name]
        answers: dict[Digest, tuple[Descriptor, ...]] = {}
        async with self._context.gateway.reader(group[0].plan.source).turn():
            job = await prepare(self._context, group, answers)
        heard = fold(self._context, answers, group[0].rule.referrers)
        heard = replace(heard, tags=max(planned.attached for planned in group))
        self._remember_closer_look(group, job, heard)
        first.warnings += self._context.hints.warnings(_places(group[0].plan.source, group))
        if job is None:
            return
        self.block(job)
        if not job.orders:
            return
        self._context.hints.note_job(job)
        reader = self._context.gateway.reader(job.source)
        writers = {order.target.target: self._context.gateway.writer(order.target.target) for order in job.orders}
        late = {(order.rule, order.target.target) for order in job.orders if order.serves_root}

        def settle(result: UnitResult) -> None:
            run = self._by_rule[result.rule]
            if (result.rule, result.target) in late:
                withdraw(run, result)
            self._finish(run, result, heard)

        for order in job.orders:
            tags = tuple(tag.source_tag for tag in order.target.changes)
            started = UnitStarted(rule=order.rule, source=job.source, target=order.target.target, tags=tags)
            self._context.events.emit(started)
        await executor.carry_out(job, reader, writers, settle=settle)

    def _remember_closer_look(self, group: Sequence[Planned], job: CopyJob | None, heard: Heard) -> None:
        """Remember which targets turned out to lack attachments, and which do not."""
        orders = [*job.orders, *(order for order, _ in job.blocked)] if job is not None else []
        for planned in group:
            remembered = self._by_rule[planned.rule.name].remembered[planned.plan.source]
            lack = {o.target.target for o in orders if o.serves_root and o.rule == planned.rule.name}
            for target in lack:
                remembered.take_lacking(planned.plan, target, LATE, heard.at)
            remembered.take_heard(planned.plan, planned.late - lack, heard)

    def block(self, job: CopyJob) -> None:
        """Settle the images of a job that their rules do not allow to be brought to some targets."""
        for order, problem in job.blocked:
            run = self._by_rule[order.rule]
            result = UnitResult(
                rule=order.rule,
                source=job.source,
                target=order.target.target,
                tags=tuple((tag.source_tag, tag.target_tag) for tag in order.target.changes),
                outcome=Outcome.BLOCKED,
                reason=problem.message,
                digest=job.root.digest,
                served=job.graph.root.descriptor.digest if order.serves_root else order.target.changes[0].before,
                problem=problem,
            )
            withdraw(run, result)
            self._finish(run, result, carried_out=False)

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
                    self._finish(run, replace(result, problem=problem))


def group_plans(rules: Sequence[Sequence[Planned]]) -> list[list[Planned]]:
    """Return the plans that need work, those for the same content together, rules taking turns."""
    groups: dict[object, list[Planned]] = {}
    for planned in chain.from_iterable(zip_longest(*rules)):
        if planned is not None and planned.needs_work:
            groups.setdefault(planned.key, []).append(planned)
    return list(groups.values())


def _unchanged(before: Sequence[UnitResult], after: Sequence[UnitResult]) -> list[UnitResult]:
    """Return the results that stayed what they were."""
    return [new for old, new in zip(before, after, strict=True) if old is new]


def _rules_of(group: Sequence[Planned]) -> set[str]:
    return {planned.rule.name for planned in group}


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
