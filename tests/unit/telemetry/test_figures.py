"""The sums of what metrics count are those of the run's own report, number for number, over emulated registries."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest

from mirrord.planning.pattern import TagPattern
from mirrord.planning.report import Outcome, summarise
from mirrord.planning.rule import Policy, Rule
from mirrord.ports.events import EventSink
from mirrord.telemetry.metrics import Metrics
from tests.fakes.faults import Respond, corrupt
from tests.fakes.images import make_artifact, make_image, make_index
from tests.fakes.internet import Internet
from tests.fakes.profiles import DISTRIBUTION_V3, Names
from tests.fakes.registries.dockerhub import DOCKERHUB, NAMES_DOCKERHUB
from tests.fakes.registry import FakeRegistry
from tests.fakes.runs import Pass, carry_out, process, rule
from tests.fakes.stores import put
from tests.unit.telemetry.samples import Samples, read, total

pytestmark = pytest.mark.anyio

A, B = "a.example", "b.example"


@dataclass(frozen=True)
class Figures:
    """What a run said, and what the metrics say after it."""

    done: Pass
    samples: Samples

    def by(self, metric: str, *labels: str) -> float:
        return total(self.samples.get(f"mirrord_{metric}", {}), *labels)

    def hosts(self, metric: str) -> dict[str, float]:
        """Return the sums by registry; the ones that are zero are left out."""
        found: Counter[str] = Counter()
        for labels, value in self.samples[f"mirrord_{metric}"].items():
            found[labels[-1]] += int(value)
        return {host: value for host, value in found.items() if value}

    def check(self) -> None:
        """See that the sums are equal."""
        done, tally = self.done, summarise(self.done.results)
        for outcome in (Outcome.COPIED, Outcome.BLOCKED, Outcome.FAILED):
            assert self.by("images_copied_total", outcome) == done.count(outcome), outcome
        for name in ("uploaded", "mounted", "existed"):
            told = getattr(tally, name)
            size = self.by("bytes_written_total") if name == "uploaded" else self.by("bytes_saved_total", name)
            assert (self.by("blobs_total", name), size) == told, name
        assert self.hosts("bytes_written_total") == done.traffic.bytes_written
        assert self.hosts("bytes_read_total") == done.traffic.bytes_read
        assert self.hosts("requests_total") == done.traffic.requests
        assert self.hosts("request_duration_seconds_count") == done.traffic.requests
        assert self.by("retries_total") == done.traffic.retries


async def run(internet: Internet, hub: FakeRegistry, *rules: Rule) -> Figures:
    metrics = Metrics()
    metrics.know(rules)
    listener: EventSink = metrics
    async with process(internet, hub, events=listener) as app:
        done = await carry_out(app, *rules)
    assert metrics.faults == 0
    return Figures(done, read(metrics))


@dataclass(frozen=True)
class Net:
    internet: Internet
    hub: FakeRegistry
    a: FakeRegistry
    b: FakeRegistry


async def net(internet: Internet) -> Net:
    """Put Docker Hub with some images on the net, and two registries to write to."""
    hub = await internet.join(DOCKERHUB, NAMES_DOCKERHUB)
    a = await internet.join(DISTRIBUTION_V3, Names(registry=A))
    b = await internet.join(DISTRIBUTION_V3, Names(registry=B))
    put(hub, "acme/app", make_image("one", layers=3), "1.0", "latest")
    put(hub, "acme/app", make_index("two"), "2.0")
    put(hub, "acme/tools", make_image("one", layers=3), "1.0")
    return Net(internet, hub, a, b)


def both(path: str, **more: object) -> Rule:
    return replace(rule(f"docker.io/{path}", f"{A}/{path}", f"{B}/{path}", name=path), **more)  # type: ignore[arg-type] # fields of a rule


async def test_first_run_counts_what_its_report_says() -> None:
    """One read feeds two targets, and the second repository of a host mounts what the first one has."""
    async with Internet() as internet:
        there = await net(internet)
        figures = await run(internet, there.hub, both("acme/app"), both("acme/tools"))

    figures.check()
    uploaded, mounted = figures.by("blobs_total", "uploaded"), figures.by("blobs_total", "mounted")
    assert (figures.done.count(Outcome.COPIED), uploaded > 0, mounted > 0) == (8, True, True)
    assert figures.by("bytes_saved_total", "fanout") == figures.by("bytes_read_total") > 0
    assert figures.by("bytes_written_total") == 2 * figures.by("bytes_read_total")
    assert figures.by("image_duration_seconds_count", "copied") == 6, "one for an image and target"


async def test_run_that_finds_nothing_to_do_counts_its_questions() -> None:
    async with Internet() as internet:
        there = await net(internet)
        await run(internet, there.hub, both("acme/app"))
        figures = await run(internet, there.hub, both("acme/app"))

    figures.check()
    assert figures.done.count(Outcome.IN_SYNC) == 6
    assert figures.by("blobs_total") == figures.by("images_copied_total") == 0


async def test_run_with_what_the_targets_have_already_counts_it_as_saved() -> None:
    async with Internet() as internet:
        there = await net(internet)
        await run(internet, there.hub, both("acme/app"))
        for digest in list(there.a.store.tags("acme/app").values()):
            there.a.store.remove_manifest("acme/app", digest)
        figures = await run(internet, there.hub, both("acme/app"))

    figures.check()
    assert figures.by("bytes_saved_total", "existed", A) > 0


async def test_run_in_trouble_counts_its_troubles() -> None:
    """Server errors, a pause, damaged bytes, an image that cannot be had, and a tag that must not move."""
    async with Internet() as internet:
        there = await net(internet)
        put(there.a, "acme/app", make_image("other"), "1.0")
        lost = put(there.hub, "acme/app", make_image("lost"), "3.0")
        for blob in lost.manifest.layers:
            there.hub.store.remove_blob("acme/app", blob.digest)
        there.hub.fault(Respond(503), kind="manifest HEAD", nth=2, times=2)
        there.a.fault(Respond(429, (("Retry-After", "1"),)), kind="upload POST")
        there.b.fault(Respond(500), kind="manifest PUT")
        there.hub.fault(corrupt(5), kind="storage", nth=2)
        careful = both("acme/app", policy=Policy(immutable_tags=(TagPattern.parse("1.0"),)))
        figures = await run(internet, there.hub, careful)
        there.hub.assert_all_fired()
        there.a.assert_all_fired()
        there.b.assert_all_fired()

    figures.check()
    assert figures.done.count(Outcome.FAILED) == figures.by("images_copied_total", "failed") == 2
    assert figures.by("guard_refusals_total", "immutable", "acme/app") == figures.done.count(Outcome.BLOCKED) == 1
    assert figures.by("retries_total", "unavailable") >= 3
    assert figures.by("retries_total", "rate_limited", A) == 1
    assert figures.by("throttled_seconds_total", A) == pytest.approx(1, abs=0.01)
    assert figures.by("integrity_errors_total", "digest") == 1
    assert figures.by("blobs_total", "failed") == 2 * len(lost.manifest.layers)


async def test_pulls_of_a_registry_that_counts_them_are_what_is_left_less() -> None:
    """What the registry said last is what a single run leaves as a gauge."""
    metrics = Metrics()
    async with Internet() as internet:
        there = await net(internet)
        mirrored = both("acme/app")
        metrics.know([mirrored])
        async with process(internet, there.hub, events=metrics) as app:
            done = await carry_out(app, mirrored)
    from mirrord.planning.report import RunReport
    from tests.unit.telemetry.told import MOMENT

    metrics.take_report(
        RunReport(
            started=MOMENT,
            finished=MOMENT + timedelta(seconds=1),
            dry_run=False,
            rules=tuple(done.reports),
            traffic=done.traffic,
        ),
        [mirrored],
    )
    samples = read(metrics)

    quota = done.traffic.quotas["docker.io"]
    assert samples["mirrord_rate_limit_remaining"] == {("docker.io",): quota.remaining}
    assert quota.limit is not None
    assert quota.limit - quota.remaining == sum(done.traffic.pulls.values())
    assert samples["mirrord_images"][("acme/app", "in_sync", A)] == 3


async def test_signatures_that_come_later_count_once() -> None:
    async with Internet() as internet:
        there = await net(internet)
        await run(internet, there.hub, both("acme/app"))
        subject = make_image("one", layers=3)
        signature = make_artifact("signature", subject=subject.root.descriptor)
        put(there.hub, "acme/app", signature)
        figures = await run(internet, there.hub, both("acme/app"))

    figures.check()
