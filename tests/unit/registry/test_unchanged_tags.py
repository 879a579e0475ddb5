"""What a run over 1,000 unchanged tags costs, counted where the requests arrive: at emulated registries over TLS."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from mirrord.app import Gateway
from mirrord.demo.registry.asgi import json_answer
from mirrord.oci.reference import Repository, Tag
from mirrord.planning.report import Outcome, RuleReport
from mirrord.planning.rotation import TURN_S, is_due
from mirrord.planning.rule import Rule, Source, TagSelector
from mirrord.planning.target import TargetTemplate
from mirrord.registry.providers.base import Provider
from mirrord.registry.providers.generic import GenericProvider
from mirrord.registry.throttle import RegistrySlots
from mirrord.sync.context import Context
from mirrord.sync.run import Run
from mirrord.sync.traffic import Traffic
from mirrord.transfer.blob import BlobMover
from mirrord.transfer.executor import Executor
from mirrord.transfer.window import Windows
from tests.fakes.bulk import BULK, BulkProvider, bulk_names, tag_api
from tests.fakes.clients import Client, credential_of
from tests.fakes.images import make_image
from tests.fakes.internet import Internet
from tests.fakes.registry import FakeRegistry

pytestmark = pytest.mark.anyio

COUNT = 1000
MOST = 12
"""Requests for pages, greeting and tokens that a registry may get in a run that finds nothing to do."""

SOURCE = Repository("bulk-source.test", "team/app")
TARGET = Repository("bulk-target.test", "mirror/app")
TAGS = [f"1.{number}" for number in range(COUNT)]
PLAIN = (GenericProvider(),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """Two registries of a thousand tags each, all in sync, and a client of both."""

    source: FakeRegistry
    target: FakeRegistry
    client: Client
    traffic: Traffic

    async def sync(self) -> RuleReport:
        """Carry out a rule that takes every tag; count anew."""
        for registry in (self.source, self.target):
            registry.traffic.clear()
        rule = Rule(
            name="rule",
            source=Source(location=SOURCE),
            targets=(TargetTemplate.parse(str(TARGET)),),
            tags=TagSelector(),
        )
        clock, slots = self.client.clock, RegistrySlots(self.client.gateway.throttles)
        context = Context(gateway=Gateway(self.client.gateway), slots=slots, clock=clock, events=self.traffic)
        mover = BlobMover(slots=slots, windows=Windows(), clock=clock, events=self.traffic, jitter=random.Random(1))
        run = Run(context, [rule])
        await run.carry_out(Executor(mover=mover, clock=clock))
        return run.rules[0].report()


@asynccontextmanager
async def scene(providers: tuple[Provider, ...], page_size: int = 1000) -> AsyncIterator[Scene]:
    async with Internet() as internet:
        source, target = [await internet.join(BULK, bulk_names(location.host)) for location in (SOURCE, TARGET)]
        for registry, location in ((source, SOURCE), (target, TARGET)):
            tag_api(registry).page_size = page_size
            for tag in TAGS:
                put(registry, location, tag, tag)
        async with internet.client(SOURCE.host, credential=credential_of(source), providers=providers) as client:
            client.credentials.by_host[TARGET.host] = credential_of(target)
            yield Scene(source=source, target=target, client=client, traffic=Traffic(client.events))


def put(registry: FakeRegistry, location: Repository, tag: str, name: str) -> str:
    """Let a tag point to an image; return its digest."""
    content = make_image(name, layers=1)
    for raw in content.blobs.values():
        registry.store.add_blob(location.path, raw)
    registry.store.add_manifest(location.path, content.root.raw, content.descriptor.media_type, tags=[tag])
    return str(content.digest)


def looked_at(registry: FakeRegistry) -> list[str]:
    """Return the tags that a registry was asked for by HEAD, in order of their names."""
    return sorted(record.route.reference for record in registry.traffic.of("manifest HEAD"))


def due(scene: Scene, location: Repository) -> list[str]:
    """Return the tags whose turn it is at a repository."""
    return sorted(tag for tag in TAGS if is_due(location, Tag(tag), scene.client.clock.now()))


def in_sync(report: RuleReport) -> bool:
    """Say whether all tags are in sync, and nothing was amiss."""
    return report.count(Outcome.IN_SYNC) == report.listed == COUNT and not report.problems and not report.warnings


@pytest.mark.covers("C22")
@pytest.mark.parametrize(
    ("page_size", "pages"),
    [pytest.param(1000, 1, id="bulk-04-core-1000"), pytest.param(100, 10, id="bulk-04-core-100")],
)
async def test_thousand_unchanged_tags_cost_twelve_requests_where_digests_are_told(page_size: int, pages: int) -> None:
    async with scene((BulkProvider(page_size), GenericProvider()), page_size) as registries:
        for _ in range(3):
            report = await registries.sync()

            assert in_sync(report)
            for registry, location in ((registries.source, SOURCE), (registries.target, TARGET)):
                counts = registry.traffic.counts
                looks = looked_at(registry)
                assert looks == due(registries, location)
                assert 0 < len(looks) < COUNT // 20
                assert counts["api"] == pages
                assert counts.total() - len(looks) <= MOST
            registries.client.clock.advance(TURN_S)


@pytest.mark.covers("C22")
@pytest.mark.parametrize("bulk", [pytest.param("", id="bulk-03-core")])
async def test_thousand_unchanged_tags_cost_one_head_a_tag_where_digests_are_refused(bulk: str) -> None:
    async with scene((BulkProvider(1000), GenericProvider())) as registries:
        for registry in (registries.source, registries.target):
            tag_api(registry).refusal = json_answer({"message": "no"}, status=403)
        report = await registries.sync()

        assert in_sync(report)
        assert looked_at(registries.source) == looked_at(registries.target) == sorted(TAGS)


@pytest.mark.covers("C22")
async def test_thousand_unchanged_tags_cost_one_head_a_tag_where_no_digests_are_told() -> None:
    async with scene(PLAIN) as registries:
        report = await registries.sync()

        assert in_sync(report)
        for registry in (registries.source, registries.target):
            assert looked_at(registry) == sorted(TAGS)
            assert registry.traffic.counts["api"] == 0
            assert registry.traffic.counts.total() - COUNT <= MOST


@pytest.mark.parametrize("bulk", [pytest.param("", id="bulk-01-core")])
async def test_three_of_a_thousand_tags_that_changed_are_looked_at_and_copied(bulk: str) -> None:
    async with scene((BulkProvider(1000), GenericProvider())) as registries:
        moved = {tag: put(registries.source, SOURCE, tag, f"moved {tag}") for tag in ("1.7", "1.77", "1.777")}
        report = await registries.sync()

        served = registries.target.store.tags(TARGET.path)
        assert {tag: str(served[tag]) for tag in moved} == moved
        assert report.count(Outcome.COPIED) == 3
        assert report.count(Outcome.IN_SYNC) == COUNT - 3
        assert set(looked_at(registries.source)) >= moved.keys()
        assert set(looked_at(registries.source)) - moved.keys() <= set(due(registries, SOURCE)) | attached(registries)


def attached(registries: Scene) -> set[str]:
    """Return the references of the source that are no tags of ours: digests, and tags of attachments."""
    return {record.route.reference for record in registries.source.traffic.records} - set(TAGS)


@pytest.mark.parametrize("bulk", [pytest.param("", id="bulk-08-core")])
async def test_listing_that_lies_is_counted_and_told(bulk: str) -> None:
    async with scene((BulkProvider(1000), GenericProvider())) as registries:
        rows = [(tag, str(digest)) for tag, digest in registries.source.store.tags(SOURCE.path).items()]
        lie = str(make_image("a lie").digest)
        tag_api(registries.source).told[SOURCE.path] = [(tag, lie if tag == "1.5" else told) for tag, told in rows]
        report = await registries.sync()

        assert report.count(Outcome.IN_SYNC) == COUNT
        assert len(report.warnings) == 1
        assert "the listing of bulk-source.test told something else" in report.warnings[0]
        assert registries.traffic.report().bulk_differs == {SOURCE.host: 1}
        assert "1.5" in looked_at(registries.source)
