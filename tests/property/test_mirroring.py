"""Random sources, targets and failures: what holds for every run of rules, whatever goes wrong on the way."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mirrord.errors import DeniedError, NotFoundError, RateLimitedError, UnavailableError
from mirrord.oci.digest import Digest
from mirrord.oci.reference import Location, Repository, Tag
from mirrord.planning.attachment import cosign_tags, is_attachment
from mirrord.planning.report import Outcome
from mirrord.planning.rule import Referrers, Rule
from mirrord.registry.throttle import RegistrySlots
from tests.fakes.images import Content, child, content, index_of, make_artifact, make_image
from tests.fakes.memory import Memory
from tests.unit.sync.scene import Scene, adds_up, make_rule, results
from tests.unit.transfer.bench import limit

SOURCES = [Repository("source.test", "app"), Repository("source.test", "team/tool"), Repository("other.test", "base")]
TARGET_HOSTS = ["target-a.test", "target-b.test", "source.test"]
LAYERS = [content(f"layer {i}", 100) for i in range(4)]
TAGS = ["1.0", "1.1", "latest"]
VERBS = ["head", "list_tags", "manifest", "blob", "piece", "has_blob", "mount_blob", "put_blob", "take", "commit"]
ERRORS = [
    DeniedError("no"),
    NotFoundError("there is none"),
    UnavailableError("the connection broke"),
    RateLimitedError("too many requests"),
    ZeroDivisionError("unexpected"),
]


@dataclass(frozen=True)
class Failure:
    """What goes wrong with some operation."""

    verb: str | None
    nth: int
    times: int | None
    error: Exception | None

    def set(self, memory: Memory, scope: anyio.CancelScope) -> None:
        """Let it happen; without an error the process is killed there."""
        if self.error is None:
            memory.when(self.verb, scope.cancel, nth=self.nth)
        else:
            memory.fail(self.verb, self.error, nth=self.nth, times=self.times)


@dataclass(frozen=True)
class Story:
    """A source with its images, rules about it, what the targets hold before, and what goes wrong in the first run."""

    contents: tuple[tuple[Repository, str | None, Content], ...]
    before: tuple[tuple[Location, str | None, Content], ...]
    rules: tuple[Rule, ...]
    failures: tuple[Failure, ...]
    referrers_api: bool
    mounts: bool
    thorough: bool
    places: int
    backend: str

    def scene(self) -> Scene:
        """Return the registries as they are at first. The targets take anything: order is the only protection."""
        hosts = sorted({*(source.host for source in SOURCES), *TARGET_HOSTS})
        throttles = limit(self.places, *hosts)
        memory = Memory(piece=64, throttles=throttles)
        for host in hosts:
            memory.hosts[host].referrers_api = self.referrers_api
            memory.hosts[host].mounts = self.mounts
            memory.hosts[host].checks_content = False
        for location, tag, member in (*self.contents, *self.before):
            memory.add(location, member, *([tag] if tag else []))
        return Scene(memory=memory, slots=RegistrySlots(throttles))

    def targets(self) -> list[tuple[Rule, Repository, Location]]:
        """Return where each rule brings its source."""
        return [
            (rule, rule.source.location, template.location(rule.source.location))
            for rule in self.rules
            for template in rule.targets
            if isinstance(rule.source.location, Repository)
        ]


images = st.builds(
    lambda number, layers: make_image(f"image {number}", layers=[LAYERS[i] for i in layers]),
    st.integers(0, 3),
    st.lists(st.integers(0, 3), min_size=1, max_size=3, unique=True),
)
indexes = st.lists(images, min_size=1, max_size=3, unique_by=lambda image: image.digest).map(
    lambda members: index_of([(member, child(member, f"linux/arch{i}")) for i, member in enumerate(members)])
)
failures = st.builds(
    Failure,
    verb=st.one_of(st.none(), st.sampled_from([*VERBS, "put_manifest", "referrers", "ensure_exists"])),
    nth=st.integers(1, 40),
    times=st.sampled_from([1, 1, 2, None]),
    error=st.sampled_from([*ERRORS, None]),
)


@st.composite
def stories(draw: st.DrawFn) -> Story:
    contents: list[tuple[Repository, str | None, Content]] = []
    for source in SOURCES:
        for tag in draw(st.lists(st.sampled_from(TAGS), min_size=1, max_size=3, unique=True)):
            root = draw(st.one_of(images, indexes))
            contents.append((source, tag, root))
            if draw(st.booleans()):
                sbom = make_artifact("sbom", subject=root.descriptor)
                contents.append((source, None, sbom))
                if draw(st.booleans()):
                    contents.append((source, None, make_artifact("about the sbom", subject=sbom.descriptor)))
            if draw(st.booleans()):
                contents.append((source, str(cosign_tags(root.digest)[0]), make_artifact(f"signs {root.digest}")))
    rules = []
    thorough = draw(st.booleans())
    for i, source in enumerate(draw(st.lists(st.sampled_from(SOURCES), min_size=1, max_size=3))):
        hosts = draw(st.lists(st.sampled_from(TARGET_HOSTS), min_size=1, max_size=3, unique=True))
        rule = make_rule(f"rule-{i}", *(f"{host}/mirror-{i}" for host in hosts), source=source)
        rules.append(replace(rule, referrers=Referrers(recheck=timedelta(0))) if thorough else rule)
    before: list[tuple[Location, str | None, Content]] = [
        (Repository(draw(st.sampled_from(TARGET_HOSTS)), f"mirror-{i}"), tag, draw(images))
        for i in range(len(rules))
        for tag in draw(st.lists(st.one_of(st.none(), st.sampled_from(TAGS)), max_size=2))
    ]
    return Story(
        contents=tuple(contents),
        before=tuple(before),
        rules=tuple(rules),
        failures=tuple(draw(st.lists(failures, max_size=3))),
        referrers_api=draw(st.booleans()),
        mounts=draw(st.booleans()),
        thorough=thorough,
        places=draw(st.sampled_from([1, 2, 16])),
        backend=draw(st.sampled_from(["asyncio", "trio"])),
    )


def check_content(story: Story, scene: Scene) -> None:
    """Fail where a tag points or pointed to incomplete content, or where bytes do not have their digest."""
    assert scene.memory.violations == []
    for _, _, target in story.targets():
        assert scene.memory.broken_tags(target) == []
        held = scene.memory.at(target)
        assert all(Digest.of(raw) == digest for digest, raw in held.blobs.items())
        assert all(Digest.of(manifest.raw) == digest for digest, manifest in held.manifests.items())


def check_mirrored(story: Story, scene: Scene) -> None:
    """Fail where a target does not serve what its source serves, with all that is attached to it."""
    for _, source, target in story.targets():
        there, here = scene.memory.at(source), scene.memory.at(target)
        for tag, digest in there.tags.items():
            if is_attachment(tag) and not tag.name.endswith(".sig"):
                continue  # a fallback tag is the registry's own
            assert here.tags.get(tag) == digest
        if story.before and not story.thorough:
            continue  # what only an API tells about an image that is there already is looked for by a recheck
        wanted = set(there.tags.values())
        for manifest in there.manifests.values():
            if manifest.subject is not None and manifest.subject.digest in wanted:
                assert manifest.descriptor.digest in here.manifests


def check_cheap(story: Story, scene: Scene) -> None:
    """Fail where a pass over what is in sync writes, reads content, or asks for a tag twice at any side."""
    assert scene.writes() == 0
    assert scene.memory.count("blob", "put_blob", "mount_blob") == 0
    for rule, source, target in [] if story.thorough else story.targets():
        rules = sum(other.source.location == source for other in story.rules)
        for tag in scene.memory.at(source).tags:
            assert scene.memory.count("head", at=source, ref=tag) <= (rules if is_attachment(tag) else 1)
            assert scene.memory.count("head", at=target, ref=tag) <= 1 + is_attachment(tag)
        assert rule.targets


async def live(story: Story) -> None:
    """Run the rules with failures, then until everything is mirrored, then once more."""
    scene = story.scene()
    with anyio.CancelScope() as scope:
        for failure in story.failures:
            failure.set(scene.memory, scope)
        run = await scene.sync(*story.rules)
        assert adds_up(run)
    check_content(story, scene)

    scene.memory.traps.clear()
    run = await scene.sync(*story.rules)
    assert adds_up(run)
    assert {result.outcome for result in results(run)} <= {Outcome.COPIED, Outcome.IN_SYNC}
    check_content(story, scene)
    check_mirrored(story, scene)
    if story.mounts:
        uploads = [(o.location.host, o.ref) for o in scene.memory.log if o.verb == "put_blob"]
        assert len(uploads) == len(set(uploads))

    run = await scene.sync(*story.rules)
    assert {result.outcome for result in results(run)} <= {Outcome.IN_SYNC}
    check_cheap(story, scene)


@pytest.mark.covers("C1", "C2", "C20", "C22", "C49")
@settings(max_examples=40)
@given(stories())
def test_mirroring_is_whole_exact_and_done_once_whatever_fails(story: Story) -> None:
    anyio.run(live, story, backend=story.backend)


@pytest.mark.covers("C22")
@given(stories())
@settings(max_examples=20)
def test_mirroring_copies_what_the_plan_says(story: Story) -> None:
    async def compare() -> None:
        scene = story.scene()
        planned = await scene.look(*story.rules)
        expected = {
            (plan.plan.rule, plan.plan.source, target.target, tag.source_tag)
            for group in planned.groups()
            for plan in group
            for target in plan.plan.changes
            for tag in target.changes
        }
        assert scene.writes() == 0
        run = await scene.sync(*story.rules)
        late = "attachments came after the image"
        copied: set[tuple[str, Location, Location, Tag | None]] = {
            (result.rule, result.source, result.target, source_tag)
            for result in results(run)
            for source_tag, _ in result.tags
            if result.outcome is Outcome.COPIED and result.reason != late
        }

        assert copied == expected

    anyio.run(compare, backend=story.backend)
