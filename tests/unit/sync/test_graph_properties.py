"""Properties of whole runs over random registries, rules and failures."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import timedelta

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mirrord.errors import DeniedError, MirrordError, NotFoundError, UnavailableError
from mirrord.oci.reference import Repository, Tag
from mirrord.planning.attachment import cosign_tags, is_attachment
from mirrord.planning.pattern import TagPattern
from mirrord.planning.report import EXIT_FAILED, EXIT_OK, EXIT_REFUSED, Outcome, RuleReport, summarise
from mirrord.planning.rule import Policy, Referrers, Rule
from mirrord.sync.run import Run
from mirrord.sync.traffic import Traffic
from tests.fakes.images import Content, content, make_artifact, make_image, make_index
from tests.fakes.memory import Recorder
from tests.unit.sync.scene import Scene, adds_up, exits, make_rule, only, reports, results, settle, stands

HOSTS = ("source.test", "other-source.test")
SOURCES = tuple(Repository(host, path) for host in HOSTS for path in ("app", "web"))
TARGETS = ("target-a.test/x", "target-a.test/y", "target-b.test/x")
TAGS = ("1.0", "1.1", "2.0", "latest")
LAYERS = tuple(content(f"layer {number}", 200) for number in range(5))
VERBS = ("list_tags", "head", "manifest", "blob", "piece", "has_blob", "put_blob", "put_manifest", "referrers", None)

many = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@dataclass(frozen=True)
class Image:
    """An image at a source: its layers by number, whether it is an index, its tags, and whether it is signed."""

    source: Repository
    tags: tuple[str, ...]
    layers: tuple[int, ...]
    is_index: bool
    signed: bool
    has_sbom: bool

    def build(self) -> Content:
        layers = [LAYERS[number] for number in self.layers]
        return make_index("app", layers=layers) if self.is_index else make_image("app", layers=layers)

    def put(self, scene: Scene) -> Content:
        image = scene.memory.add(self.source, self.build(), *self.tags)
        if self.signed:
            signature = make_artifact(f"signature of {image.digest}")
            scene.memory.add(self.source, signature, str(cosign_tags(image.digest)[0]))
        if self.has_sbom:
            scene.memory.add(self.source, make_artifact("sbom", subject=image.descriptor))
        return image


@dataclass(frozen=True)
class Fault:
    verb: str | None
    at: str
    nth: int
    times: int | None
    error: MirrordError


@dataclass(frozen=True)
class Story:
    images: tuple[Image, ...]
    rules: tuple[Rule, ...]
    old: tuple[tuple[int, str, tuple[int, ...]], ...]
    hosts_without_referrers: frozenset[str]
    faults: tuple[Fault, ...] = field(default=())

    def scene(self) -> Scene:
        """Return registries as the story begins."""
        scene = Scene()
        for host in self.hosts_without_referrers:
            scene.memory.hosts[host].referrers_api = False
        for image in self.images:
            image.put(scene)
        for number, tag, layers in self.old:
            rule = self.rules[number % len(self.rules)]
            target = rule.targets[number % len(rule.targets)]
            for source in SOURCES:
                old = make_image("old", layers=[LAYERS[layer] for layer in layers])
                scene.memory.add(target.location(source), old, tag)
        return scene

    def break_things(self, scene: Scene) -> None:
        for fault in self.faults:
            scene.memory.fail(fault.verb, fault.error, at=fault.at, nth=fault.nth, times=fault.times)


@st.composite
def images(draw: st.DrawFn) -> Image:
    return Image(
        source=draw(st.sampled_from(SOURCES)),
        tags=tuple(draw(st.lists(st.sampled_from(TAGS), min_size=1, max_size=3, unique=True))),
        layers=tuple(draw(st.lists(st.integers(0, 4), min_size=1, max_size=3, unique=True))),
        is_index=draw(st.booleans()),
        signed=draw(st.booleans()),
        has_sbom=draw(st.booleans()),
    )


@st.composite
def rules(draw: st.DrawFn, number: int) -> Rule:
    targets = draw(st.lists(st.sampled_from(TARGETS), min_size=1, max_size=3, unique=True))
    rule = make_rule(
        f"rule{number}",
        *(f"{target}/{number}/{{registry}}/{{repository}}" for target in targets),
        source=draw(st.sampled_from(SOURCES)),
        tags=draw(
            st.sampled_from(
                [
                    only(),
                    only("1*"),
                    only("1.0", "3.0"),
                    only("*", exclude=["latest"]),
                    only("*", max_age=timedelta(days=3)),
                    only("none*"),
                ]
            )
        ),
        platforms=draw(st.sampled_from([(), ("linux/amd64",), ("linux/arm64", "linux/s390x")])),
    )
    policy = Policy(
        overwrite=draw(st.booleans()),
        immutable_tags=draw(st.sampled_from([(), (TagPattern.parse("1.*"),)])),
    )
    referrers = Referrers(enabled=draw(st.booleans()), recheck=timedelta(hours=draw(st.sampled_from([0, 24]))))
    return replace(rule, policy=policy, referrers=referrers)


faults = st.builds(
    Fault,
    verb=st.sampled_from(VERBS),
    at=st.sampled_from([*HOSTS, "target-a.test", "target-b.test"]),
    nth=st.integers(1, 6),
    times=st.sampled_from([1, 2, None]),
    error=st.sampled_from([DeniedError("no"), UnavailableError("no answer"), NotFoundError("gone")]),
)


@st.composite
def stories(draw: st.DrawFn, *, broken: bool = False) -> Story:
    return Story(
        images=tuple(draw(st.lists(images(), min_size=1, max_size=5))),
        rules=tuple(draw(rules(number)) for number in range(draw(st.integers(1, 3)))),
        old=tuple(
            draw(
                st.lists(
                    st.tuples(
                        st.integers(0, 5),
                        st.sampled_from(TAGS),
                        st.lists(st.integers(0, 4), min_size=1, max_size=2, unique=True).map(tuple),
                    ),
                    max_size=2,
                )
            )
        ),
        hosts_without_referrers=draw(st.frozensets(st.sampled_from([*HOSTS, "target-a.test", "target-b.test"]))),
        faults=tuple(draw(st.lists(faults, min_size=1, max_size=3))) if broken else (),
    )


def check_report(report: RuleReport, exit_code: int) -> None:
    if report.problems or report.count(Outcome.FAILED):
        assert exit_code == EXIT_FAILED
    elif report.count(Outcome.BLOCKED):
        assert exit_code in {EXIT_REFUSED, EXIT_FAILED}
    for result in report.results:
        assert result.tags
        assert result.reason
        assert (result.problem is not None) == (result.outcome in {Outcome.FAILED, Outcome.BLOCKED})


def check_served(scene: Scene, run: Run) -> None:
    """What is said to be copied or in sync is served, whole, under that tag."""
    for result in results(run):
        if result.outcome in {Outcome.COPIED, Outcome.IN_SYNC}:
            assert result.served is not None
            held = scene.memory.at(result.target)
            for _, tag in result.tags:
                assert tag is not None
                assert held.tags[tag] == result.served
                assert held.missing(held.manifests[result.served]) == []


@pytest.mark.covers("C1", "C47", "C49")
@many
@given(story=stories(broken=True))
def test_report_of_any_run_adds_up_and_tells_the_truth(anyio_backend: str, story: Story) -> None:
    async def main() -> None:
        scene = story.scene()
        context = scene.context()
        story.break_things(scene)
        run = Run(context, story.rules)
        await run.carry_out(scene.executor())

        assert adds_up(run)
        stands_each(run)
        assert scene.memory.violations == []
        check_served(scene, run)
        for report in reports(run):
            check_report(report, exits(run))

    anyio.run(main, backend=anyio_backend)


def stands_each(run: Run) -> None:
    for rule in run.rules:
        stands(rule)


@pytest.mark.covers("C22", "C7", "C9")
@many
@given(story=stories())
def test_second_run_of_any_rules_writes_nothing_and_looks_once_a_tag_and_side(anyio_backend: str, story: Story) -> None:
    async def main() -> None:
        scene = story.scene()
        first = await scene.sync(*story.rules)
        assert adds_up(first)
        check_served(scene, first)

        second = await scene.sync(*story.rules)

        assert scene.writes() == 0
        assert adds_up(second)
        for one, two in zip(first.rules, second.rules, strict=True):
            after = {Outcome.COPIED: Outcome.IN_SYNC}
            expected = {key: after.get(outcome, outcome) for key, outcome in stands(one).items()}
            assert stands(two) == expected
        if all(rule.referrers.recheck and not rule.tags.needs_times for rule in story.rules):
            heads = Counter((o.location, o.ref) for o in scene.memory.log if o.verb == "head")
            images = {key: count for key, count in heads.items() if not is_attachment(Tag(key[1]))}
            assert all(count <= sides(story, location) for (location, _), count in images.items())

    anyio.run(main, backend=anyio_backend)


def sides(story: Story, location: object) -> int:
    """Return how many rules read or write a repository."""
    return sum(
        location in {rule.source.location, *(template.location(source) for template in rule.targets)}
        for rule in story.rules
        for source in [rule.source.location]
        if source is not None
    )


@many
@given(story=stories())
def test_forecast_of_any_run_is_what_the_run_then_does(anyio_backend: str, story: Story) -> None:
    async def main() -> None:
        scene = story.scene()
        looked, forecast = await scene.forecast(*story.rules)
        assert scene.writes() == 0
        groups = looked.groups()
        traffic = Traffic(Recorder())
        scene.events = traffic

        run = await scene.sync(*story.rules)

        blobs = summarise(results(run))
        assert blobs.uploaded[1] == sum(traffic.report().bytes_written.values())
        read = sum(traffic.report().bytes_read.values())
        assert read <= blobs.uploaded[1]
        total = forecast.total
        if not story.old:
            assert (total.upload, total.mount) == (blobs.uploaded, blobs.mounted)
        else:  # which repository of a registry learns first that another one holds a blob is decided by the network
            new = blobs.uploaded[0] + blobs.mounted[0]
            assert total.upload[0] <= new <= total.upload[0] + total.mount[0] + total.existing[0]
        if not story.old and len(groups) == 1:  # else the network decides which of two images reads for both
            assert total.read_bytes == read
        assert forecast.warnings == ()
        planned = Counter((change.rule, change.target, change.root, len(change.tags)) for change in forecast.changes)
        copied = Counter(
            (result.rule, result.target, result.digest, len(result.tags))
            for result in results(run)
            if result.outcome is Outcome.COPIED
        )
        assert planned == copied
        for before, after in zip(looked.rules, run.rules, strict=True):
            settled = stands(before)
            assert {key: outcome for key, outcome in stands(after).items() if key in settled} == settled
            assert len(stands(after)) - len(settled) == after.report().count(Outcome.COPIED)

    anyio.run(main, backend=anyio_backend)


@pytest.mark.covers("C20", "C49")
@many
@given(story=stories(), step=st.integers(1, 60))
def test_run_that_ends_at_any_step_adds_up_and_the_next_one_finishes(
    anyio_backend: str, story: Story, step: int
) -> None:
    async def main() -> None:
        scene = story.scene()
        run = Run(scene.context(), story.rules)
        held = scene.memory.hold(None, nth=step)
        finished = anyio.Event()

        async def carry_out() -> None:
            await run.carry_out(scene.executor())
            finished.set()

        async with anyio.create_task_group() as group:
            group.start_soon(carry_out)
            await settle(lambda: held.reached.is_set() or finished.is_set())
            group.cancel_scope.cancel()
        run.conclude("interrupted")
        scene.memory.traps.clear()

        assert adds_up(run)
        assert scene.memory.violations == []
        check_served(scene, run)
        again = await scene.sync(*story.rules)
        assert adds_up(again)
        check_served(scene, again)
        assert exits(again) in {EXIT_OK, EXIT_REFUSED, EXIT_FAILED}
        assert scene.memory.violations == []

    anyio.run(main, backend=anyio_backend)
