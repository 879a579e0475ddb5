from __future__ import annotations

import anyio
import pytest

from mirrord.demo.registry.traffic import RequestRecord
from mirrord.oci.digest import Digest
from mirrord.planning.attachment import cosign_tags
from mirrord.planning.report import Outcome
from tests.fakes.faults import Action, Around, CutBody, CutRequest, Drop, Hold, LoseAnswer, Respond, corrupt
from tests.fakes.images import content, make_artifact, make_image, make_index
from tests.fakes.profiles import DISTRIBUTION_V2, DISTRIBUTION_V3, Profile
from tests.fakes.registry import FakeRegistry
from tests.faults.mirror import Mirror, OpenMirror

pytestmark = pytest.mark.anyio

V3, V2 = DISTRIBUTION_V3, DISTRIBUTION_V2
WRITES = ("manifest PUT", "upload POST", "upload PATCH", "upload PUT", "mount", "manifest DELETE")


def writes(mirror: Mirror) -> int:
    return sum(target.traffic.counts[kind] for target in mirror.targets for kind in WRITES)


# --- cost


async def test_three_targets_are_fed_from_one_read_of_each_blob(open_mirror: OpenMirror) -> None:
    mirror = await open_mirror(V3, V3, V2, V3)
    image = mirror.add("app", make_image("app", layers=4, layer_size=300_000), "1.0")

    found = await mirror.sync("app")

    assert found.problems == []
    assert mirror.serves("app", "1.0") == [image.digest] * 3
    assert mirror.broken_tags() == []
    assert mirror.asked("blob GET") == 5
    assert mirror.asked("manifest GET") == 1
    size = sum(map(len, image.blobs.values()))
    assert found.traffic.bytes_read == {mirror.source.host: size}
    assert found.traffic.bytes_written == {target.host: size for target in mirror.targets}


async def test_layers_that_twenty_repositories_share_are_uploaded_once_and_mounted(open_mirror: OpenMirror) -> None:
    mirror = await open_mirror(V3, V3)
    layers = [content(f"shared {i}", 10_000) for i in range(5)]
    paths = [f"team/app-{i}" for i in range(20)]
    images = {path: mirror.add(path, make_image(path, layers=layers), "1.0") for path in paths}

    found = await mirror.sync(*paths)

    assert found.problems == []
    assert [mirror.serves(path, "1.0") for path in paths] == [[images[path].digest] for path in paths]
    assert mirror.broken_tags() == []
    counts = mirror.targets[0].traffic.counts
    assert counts["mount"] == 19 * 5
    assert counts["upload PUT"] == 5 + 20
    assert mirror.asked("blob GET") == 5 + 20


@pytest.mark.covers("C22")
@pytest.mark.parametrize("profile", [V3, V2], ids=["referrers api", "fallback tag"])
async def test_second_pass_writes_nothing_and_asks_once_for_a_tag(open_mirror: OpenMirror, profile: Profile) -> None:
    mirror = await open_mirror(profile, profile, profile)
    for i in range(5):
        mirror.add("app", make_index(f"app {i}", layers=1, layer_size=100), f"1.{i}")
    first = await mirror.sync("app")

    second = await mirror.sync("app")

    assert first.count(Outcome.COPIED) == second.count(Outcome.IN_SYNC) == 10
    assert writes(mirror) == 0
    assert mirror.source.traffic.counts == {"ping": 1, "tags/list": 1, "manifest HEAD": 5}
    for target in mirror.targets:
        assert target.traffic.counts == {"ping": 1, "manifest HEAD": 5}


@pytest.mark.covers("C9")
async def test_signature_that_comes_later_is_copied_alone(open_mirror: OpenMirror) -> None:
    mirror = await open_mirror(V3, V3)
    image = mirror.add("app", make_image("app"), "1.0")
    await mirror.sync("app")
    tag = str(cosign_tags(image.digest)[0])
    signature = mirror.add("app", make_artifact("signature"), tag)

    second = await mirror.sync("app")
    put = mirror.targets[0].traffic.counts["manifest PUT"]
    third = await mirror.sync("app")

    assert (second.count(Outcome.COPIED), third.count(Outcome.IN_SYNC)) == (1, 1)
    assert put == 1
    assert mirror.serves("app", tag) == [signature.digest]
    assert writes(mirror) == 0


# --- faults


@pytest.mark.covers("D1", "D2", "D4", "D8", "D9", "D10", "D11", "D25")
@pytest.mark.parametrize(
    ("side", "action", "kind"),
    [
        pytest.param("source", CutBody(after=70_000, reset=True), "blob GET", id="reset in the body"),
        pytest.param("source", CutBody(after=70_000), "blob GET", id="end in the body"),
        pytest.param("source", corrupt(70_000), "blob GET", id="flipped bit"),
        pytest.param("source", Drop(), "manifest GET", id="manifest lost"),
        pytest.param("source", Respond(503), "blob GET", id="source unavailable"),
        pytest.param("target", CutRequest(after=70_000), "upload PUT", id="upload cut"),
        pytest.param("target", CutRequest(after=70_000, reset=True), "upload PUT", id="upload reset"),
        pytest.param("target", LoseAnswer(), "upload POST", id="session lost"),
        pytest.param("target", LoseAnswer(), "upload PUT", id="answer to the upload lost"),
        pytest.param("target", LoseAnswer(), "manifest PUT", id="answer to the manifest lost"),
        pytest.param("target", Respond(502), "manifest PUT", id="manifest refused once"),
        pytest.param("target", Respond(500), "blob HEAD", id="target unavailable"),
    ],
)
async def test_one_pass_overcomes_a_fault_that_passes(
    open_mirror: OpenMirror, side: str, action: Action, kind: str
) -> None:
    mirror = await open_mirror(V3, V3, V3)
    image = mirror.add("app", make_image("app", layers=[content("layer", 200_000)]), "1.0")
    layer = str(image.manifest.layers[0].digest).encode()

    def is_layer(record: RequestRecord) -> bool:
        return not kind.startswith(("blob", "upload PUT")) or layer.partition(b":")[2] in record.target

    registry = mirror.source if side == "source" else mirror.targets[0]
    registry.fault(action, kind=kind, where=is_layer)

    found = await mirror.sync("app")

    assert found.problems == []
    assert mirror.serves("app", "1.0") == [image.digest] * 2
    assert mirror.broken_tags() == []


@pytest.mark.covers("C1", "D5", "D37")
@pytest.mark.parametrize("damage", ["damaged", "missing"])
async def test_image_that_the_source_cannot_give_leaves_the_others_alone(open_mirror: OpenMirror, damage: str) -> None:
    mirror = await open_mirror(V3, V3)
    bad = mirror.add("app", make_image("bad", layers=[content("bad layer", 5_000)]), "bad")
    good = mirror.add("app", make_image("good"), "good")
    layer = bad.manifest.layers[0].digest
    if damage == "missing":
        mirror.source.store.remove_blob("app", layer)
    else:
        mirror.source.fault(corrupt(), kind="blob GET", where=lambda r: layer.hex.encode() in r.target, times=None)

    found = await mirror.sync("app")

    assert (found.count(Outcome.COPIED), found.count(Outcome.FAILED)) == (1, 1)
    assert mirror.serves("app", "good") == [good.digest]
    assert mirror.serves("app", "bad") == [None]
    (problem,) = found.problems
    assert ("SOURCE_INCOMPLETE" if damage == "missing" else "DIGEST_MISMATCH") in problem


@pytest.mark.covers("C20", "D21", "D99")
async def test_target_that_dies_in_mid_upload_is_completed_by_the_next_pass(open_mirror: OpenMirror) -> None:
    mirror = await open_mirror(V3, V3, V3)
    image = mirror.add("app", make_index("app", layers=3, layer_size=50_000), "1.0")
    alive, dying = mirror.targets
    dead = False

    def die() -> None:
        nonlocal dead
        dead = True

    dying.fault(Around(before=die), kind="upload PUT", nth=3)
    dying.fault(Respond(403), where=lambda _record: dead, times=None)

    first = await mirror.sync("app")

    assert (first.count(Outcome.COPIED), first.count(Outcome.FAILED)) == (1, 1)
    assert mirror.serves("app", "1.0") == [image.digest, None]
    assert mirror.broken_tags() == []
    committed = dying.store.blobs("mirror/app")
    assert committed

    dying.assert_all_fired()
    dying.faults.clear()
    second = await mirror.sync("app")

    assert (second.count(Outcome.IN_SYNC), second.count(Outcome.COPIED)) == (1, 1)
    assert mirror.serves("app", "1.0") == [image.digest] * 2
    assert mirror.broken_tags() == []
    sent = {record.target.rpartition(b"sha256:")[2].decode() for record in dying.traffic.of("upload PUT")}
    assert sent.isdisjoint(digest.hex for digest in committed)
    assert mirror.asked("blob GET") == len(image.blobs) - len(committed)
    assert alive.traffic.counts["upload PUT"] == 0


@pytest.mark.covers("C20", "C27", "D13", "D18")
@pytest.mark.parametrize("kind", ["upload POST", "upload PUT", "manifest PUT", "blob HEAD", "manifest HEAD"])
async def test_run_that_is_ended_in_the_middle_is_completed_by_the_next_one(open_mirror: OpenMirror, kind: str) -> None:
    mirror = await open_mirror(V3, V3)
    (target,) = mirror.targets
    image = mirror.add("app", make_index("app", layers=2, layer_size=20_000), "1.0")
    held = Hold()
    target.fault(held, kind=kind, nth=2)

    async with anyio.create_task_group() as group:
        group.start_soon(mirror.sync, "app")
        await held.reached.wait()
        group.cancel_scope.cancel()
        held.gate.set()
    assert mirror.broken_tags() == []
    committed = target.store.blobs("mirror/app")

    found = await mirror.sync("app")

    assert found.problems == []
    assert mirror.serves("app", "1.0") == [image.digest]
    assert mirror.broken_tags() == []
    sent = {record.target.rpartition(b"sha256:")[2].decode() for record in target.traffic.of("upload PUT")}
    assert sent.isdisjoint(digest.hex for digest in committed)


@pytest.mark.covers("C39", "D99")
async def test_target_that_stands_still_does_not_slow_the_others(open_mirror: OpenMirror) -> None:
    mirror = await open_mirror(V3, V3, V3)
    slow, quick = mirror.targets
    images = {
        f"1.{i}": mirror.add("app", make_image(f"app {i}", layers=3, layer_size=1_000), f"1.{i}") for i in range(6)
    }
    held = Hold()
    slow.fault(held, kind="upload PUT", times=None)

    done = anyio.Event()

    def mirrored(target: FakeRegistry) -> dict[str, Digest]:
        return target.store.tags("mirror/app")

    def look() -> None:
        if len(mirrored(quick)) == len(images):
            done.set()

    quick.fault(Around(after=look), kind="manifest PUT", times=None)
    async with anyio.create_task_group() as group:
        group.start_soon(mirror.sync, "app")
        with anyio.fail_after(10):
            await done.wait()
        assert mirrored(slow) == {}
        held.gate.set()

    expected = {tag: image.digest for tag, image in images.items()}
    assert mirrored(slow) == mirrored(quick) == expected
    assert mirror.broken_tags() == []
    assert quick.traffic.counts["upload PUT"] == len({digest for image in images.values() for digest in image.blobs})


@pytest.mark.parametrize("concurrency", [1, 2])
async def test_mirrors_crosswise_between_small_registries(open_mirror: OpenMirror, concurrency: int) -> None:
    there = await open_mirror(V3, V3)
    back = Mirror(source=there.targets[0], targets=[there.source])
    for i in range(3):
        there.add("app", make_image(f"there {i}", layer_size=2_000), f"1.{i}")
        back.add("tool", make_image(f"back {i}", layer_size=2_000), f"1.{i}")

    async with anyio.create_task_group() as group:
        group.start_soon(sync, there, "app", concurrency)
        group.start_soon(sync, back, "tool", concurrency)

    assert len(there.targets[0].store.tags("mirror/app")) == len(there.source.store.tags("mirror/tool")) == 3
    assert there.broken_tags() == back.broken_tags() == []


async def sync(mirror: Mirror, path: str, concurrency: int) -> None:
    with anyio.fail_after(10):
        found = await mirror.sync(path, concurrency=concurrency)
    assert found.problems == []
