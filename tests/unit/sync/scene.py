"""Whole runs over registries in memory: rules as values, and what a run made of them."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

import anyio
import anyio.lowlevel

from mirrord.oci.digest import Digest
from mirrord.oci.manifest import parse_manifest
from mirrord.oci.mediatype import OCI_CONFIG, OCI_LAYER_GZIP, OCI_MANIFEST
from mirrord.oci.platform import Platform
from mirrord.oci.reference import Location, Repository, Tag
from mirrord.planning.listing import TagEntry, TagHints, TagPage
from mirrord.planning.pattern import PathPattern, TagPattern
from mirrord.planning.report import Outcome, RuleReport, UnitResult, exit_code
from mirrord.planning.rule import IndexMode, PlatformSelector, RepositorySelector, Rule, Source, TagSelector
from mirrord.planning.target import TargetTemplate
from mirrord.ports.events import EventSink
from mirrord.ports.registry import RepositoryReader, Slots
from mirrord.sync.context import Context
from mirrord.sync.estimating import Forecast, forecast
from mirrord.sync.rulerun import RuleRun
from mirrord.sync.run import Run
from mirrord.transfer.blob import BlobMover
from mirrord.transfer.executor import Executor
from mirrord.transfer.window import Windows
from tests.fakes.clock import FakeClock
from tests.fakes.images import Content, content, describe, descriptor_json, to_json
from tests.fakes.memory import WRITES, FreeSlots, Memory, MemoryRepository, Recorder

SOURCE = Repository("source.test", "app")
A = Repository("target-a.test", "mirror/app")
B = Repository("target-b.test", "mirror/app")
Stands = dict[tuple[str, Location], Outcome]


@dataclass
class Scene:
    """Registries in memory, and runs over them. Each run begins with an empty memory of its own."""

    memory: Memory = field(default_factory=Memory)
    slots: Slots = field(default_factory=FreeSlots)
    clock: FakeClock = field(default_factory=FakeClock)
    events: EventSink = field(default_factory=Recorder)

    def context(self) -> Context:
        """Return the outside world of a new run; forgets what earlier runs did."""
        self.memory.log.clear()
        self.memory.effects.clear()
        return Context(gateway=self.memory, slots=self.slots, clock=self.clock, events=self.events)

    def executor(self) -> Executor:
        """Return the other half of a new run."""
        mover = BlobMover(
            slots=self.slots, windows=Windows(), clock=self.clock, events=self.events, jitter=random.Random(1)
        )
        return Executor(mover=mover, clock=self.clock)

    async def look(self, *rules: Rule) -> Run:
        """Look at all rules."""
        run = Run(self.context(), rules)
        await run.look()
        return run

    async def sync(self, *rules: Rule) -> Run:
        """Look at all rules and carry them out."""
        run = Run(self.context(), rules)
        await run.carry_out(self.executor())
        return run

    async def forecast(self, *rules: Rule) -> tuple[Run, Forecast]:
        """Say what carrying the rules out would do."""
        context = self.context()
        run = Run(context, rules)
        return run, await forecast(context, run)

    def writes(self, at: Location | str | None = None) -> int:
        """Return how many writes the last run began."""
        return self.memory.count(*WRITES, at=at)

    def served(self, location: Location) -> dict[str, Digest]:
        """Return the tags of a repository."""
        return {str(tag): digest for tag, digest in self.memory.at(location).tags.items()}


def make_rule(
    name: str = "rule",
    *targets: Location | str,
    source: Location = SOURCE,
    tags: TagSelector | None = None,
    platforms: Sequence[str] = (),
    mode: IndexMode = IndexMode.REWRITE,
) -> Rule:
    """Return a rule that mirrors a repository to ``targets``."""
    return Rule(
        name=name,
        source=Source(location=source),
        targets=tuple(TargetTemplate.parse(str(target)) for target in targets or (A,)),
        tags=tags or TagSelector(),
        platforms=PlatformSelector(platforms=tuple(map(Platform.parse, platforms)), mode=mode),
    )


def one_image(name: str, *targets: Location | str, tag: str | None = None, digest: Digest | None = None) -> Rule:
    """Return a rule that names one image of the source."""
    source = Source(location=SOURCE, tag=Tag.parse(tag) if tag is not None else None, digest=digest)
    return replace(make_rule(name, *targets), source=source)


def many_repositories(name: str, pattern: str, *targets: str, exclude: Sequence[str] = ()) -> Rule:
    """Return a rule that reads every repository of the source's registry that matches ``pattern``."""
    selector = RepositorySelector(
        host=SOURCE.host, pattern=PathPattern.parse(pattern), exclude=tuple(map(PathPattern.parse, exclude))
    )
    return replace(make_rule(name, *targets), source=Source(repositories=selector))


def only(*patterns: str, exclude: Sequence[str] = (), max_age: timedelta | None = None) -> TagSelector:
    """Return a selector of tags by patterns."""
    return TagSelector(
        include=tuple(map(TagPattern.parse, patterns)), exclude=tuple(map(TagPattern.parse, exclude)), max_age=max_age
    )


def image_with_config(
    name: str,
    config: Mapping[str, object] | bytes,
    *,
    config_type: str = OCI_CONFIG,
    annotations: Mapping[str, str] | None = None,
    size: int | None = None,
) -> Content:
    """Return an image with that configuration; ``size`` is what the manifest says of it, where that is wrong."""
    raw = config if isinstance(config, bytes) else to_json(config)
    layer = content(name)
    described = describe(raw, config_type)
    if size is not None:
        described = replace(described, size=size)
    manifest = parse_manifest(
        to_json(
            {
                "schemaVersion": 2,
                "mediaType": OCI_MANIFEST,
                "config": descriptor_json(described),
                "layers": [descriptor_json(describe(layer, OCI_LAYER_GZIP))],
                "annotations": dict(annotations or {}),
            }
        )
    )
    blobs = {described.digest: raw, Digest.of(layer): layer}
    return Content(root=manifest, manifests={manifest.descriptor.digest: manifest}, blobs=blobs)


def results(run: Run | RuleRun) -> list[UnitResult]:
    """Return all results of a run."""
    rules = run.rules if isinstance(run, Run) else [run]
    return [result for rule in rules for result in rule.report().results]


def stands(run: Run | RuleRun) -> Stands:
    """Return how each source tag stands on each target; a run settles each of them once."""
    found: Stands = {}
    for result in results(run):
        for source_tag, _ in result.tags:
            key = (str(source_tag or result.digest), result.target)
            assert key not in found, f"settled twice: {key}"
            found[key] = result.outcome
    return found


def codes(run: Run | RuleRun) -> dict[str, str]:
    """Return the code of the problem of each source tag that has one."""
    return {
        str(tag): result.problem.code for result in results(run) for tag, _ in result.tags if result.problem is not None
    }


def reports(run: Run) -> list[RuleReport]:
    """Return the reports of all rules."""
    return [rule.report() for rule in run.rules]


def exits(run: Run) -> int:
    """Return the exit code of a run."""
    return exit_code(reports(run))


def warnings(run: Run) -> list[str]:
    """Return all warnings of a run."""
    return [warning for report in reports(run) for warning in report.warnings]


def adds_up(run: Run) -> bool:
    """Say whether the counts of every rule's report add up."""
    return all(
        report.listed == report.filtered + sum(report.count(outcome) for outcome in Outcome) for report in reports(run)
    )


async def settle(condition: Callable[[], bool]) -> None:
    """Let every other task go on until ``condition`` holds."""
    with anyio.fail_after(5):
        while not condition():
            await anyio.lowlevel.checkpoint()


class PagedMemory(Memory):
    """Registries whose listings tell what a test says: ``pages``, in the order in which they come."""

    def __init__(self, *pages: TagPage) -> None:
        super().__init__()
        self.pages = pages

    def reader(self, location: Location) -> RepositoryReader:
        """Return a reader with those listings."""
        return _PagedRepository(self, location)


class _PagedRepository(MemoryRepository):
    def __init__(self, memory: PagedMemory, location: Location) -> None:
        super().__init__(memory, location)
        self._pages = memory.pages

    async def list_tags(self) -> AsyncIterator[TagPage]:
        for page in self._pages:
            await self._ask("list_tags")
            yield page

    async def tag_hints(self, most_pages: int) -> TagHints:
        entries: list[TagEntry] = []
        for page in self._pages[:most_pages]:
            await self._ask("bulk_tags")
            entries += page.entries
        return TagHints(entries=tuple(entries), whole=len(self._pages) < most_pages)
