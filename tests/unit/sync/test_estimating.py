from __future__ import annotations

from dataclasses import replace

import pytest

from mirrord.errors import DeniedError, UnavailableError
from mirrord.oci.digest import Digest
from mirrord.planning.estimate import Estimate
from mirrord.planning.plan import Decision
from mirrord.planning.report import Outcome, summarise
from mirrord.sync.estimating import Change, Forecast
from mirrord.sync.prepare import LATE
from tests.fakes.images import Content, child, content, index_of, make_artifact, make_image, make_index
from tests.unit.sync.scene import SOURCE, A, B, Scene, adds_up, codes, exits, make_rule, results, stands

pytestmark = pytest.mark.anyio

IN_SYNC, COPIED, FAILED = Outcome.IN_SYNC, Outcome.COPIED, Outcome.FAILED


@pytest.fixture
def scene() -> Scene:
    return Scene()


@pytest.fixture
def image(scene: Scene) -> Content:
    return scene.memory.add(SOURCE, make_image("app", layers=2), "1.0")


def size(*contents: Content) -> tuple[int, int]:
    """Return how many blobs these have in all, and bytes."""
    blobs = {digest: blob for one in contents for digest, blob in one.blobs.items()}
    return len(blobs), sum(map(len, blobs.values()))


def shown(forecast: Forecast) -> list[tuple[str, str, str]]:
    return [
        (change.rule, str(change.target), str(tag.target_tag)) for change in forecast.changes for tag in change.tags
    ]


async def test_forecast_says_what_would_be_done_and_writes_nothing(scene: Scene, image: Content) -> None:
    run, forecast = await scene.forecast(make_rule("rule", A, B))

    assert shown(forecast) == [("rule", str(A), "1.0"), ("rule", str(B), "1.0")]
    first, second = forecast.changes
    assert isinstance(first, Change)
    assert (first.source, first.root, first.wanted, first.attachments) == (SOURCE, image.digest, image.digest, 0)
    assert first.tags[0].decision is Decision.COPY
    assert first.estimate.upload == second.estimate.upload == size(image)
    assert (first.estimate.read_bytes, second.estimate.read_bytes) == (size(image)[1], 0)
    assert forecast.total == first.estimate + second.estimate
    assert results(run) == []
    assert scene.writes() == 0


async def test_forecast_of_what_is_in_sync_is_nothing(scene: Scene, image: Content) -> None:
    await scene.sync(make_rule())

    run, forecast = await scene.forecast(make_rule())

    assert forecast == Forecast(changes=(), total=Estimate())
    assert stands(run) == {("1.0", A): IN_SYNC}
    assert scene.memory.count("has_blob") == 0


async def test_forecast_knows_what_targets_hold_and_asks_for_each_blob_once(scene: Scene) -> None:
    shared = content("shared", 300)
    for number in range(3):
        scene.memory.add(SOURCE, make_image(f"app{number}", layers=[shared, content(f"own {number}")]), f"1.{number}")
    scene.memory.at(A).blobs[Digest.of(shared)] = shared

    _, forecast = await scene.forecast(make_rule())

    asked = [operation.ref for operation in scene.memory.log if operation.verb == "has_blob"]
    assert len(asked) == len(set(asked)) == 7
    assert forecast.total.existing == (3, 900)
    assert forecast.total.upload[0] == 6


async def test_forecast_counts_attachments(scene: Scene, image: Content) -> None:
    sbom = scene.memory.add(SOURCE, make_artifact("sbom", subject=image.descriptor))

    _, forecast = await scene.forecast(make_rule())
    run = await scene.sync(make_rule())

    (change,) = forecast.changes
    assert change.attachments == 1
    assert change.estimate.upload == summarise(results(run)).uploaded == size(image, sbom)


@pytest.mark.covers("C49")
async def test_forecast_tells_late_attachments_as_a_change(scene: Scene, image: Content) -> None:
    await scene.sync(make_rule())
    signature = scene.memory.add(SOURCE, make_artifact("signature"), f"sha256-{image.digest.hex}.sig")

    before, forecast = await scene.forecast(make_rule("rule"), make_rule("other", B))
    after = await scene.sync(make_rule("rule"), make_rule("other", B))

    late = next(change for change in forecast.changes if change.target == A)
    assert [tag.reason for tag in late.tags] == [LATE]
    assert late.estimate.upload == size(signature)
    assert stands(before) == {}
    assert forecast.total.upload == summarise(results(after)).uploaded
    assert set(stands(after).values()) == {COPIED}


async def test_forecast_counts_an_image_of_two_rules_for_one_repository_once(scene: Scene, image: Content) -> None:
    _, forecast = await scene.forecast(make_rule("one", f"{A}:one"), make_rule("two", f"{A}:two"))

    assert shown(forecast) == [("one", str(A), "one"), ("two", str(A), "two")]
    assert forecast.total.upload == size(image)
    assert forecast.changes[1].estimate == Estimate()


async def test_forecast_of_a_rewritten_index_counts_what_is_left(scene: Scene) -> None:
    index = scene.memory.add(SOURCE, make_index("app"), "1.0")

    _, forecast = await scene.forecast(make_rule(platforms=["linux/amd64"]))
    run = await scene.sync(make_rule(platforms=["linux/amd64"]))

    (change,) = forecast.changes
    assert change.root == index.digest != change.wanted
    assert scene.served(A) == {"1.0": change.wanted}
    assert change.estimate.upload == summarise(results(run)).uploaded == (3, size(index)[1] // 2)


async def test_forecast_fails_an_image_whose_content_the_source_does_not_tell(scene: Scene, image: Content) -> None:
    member = make_image("member")
    index = scene.memory.add(SOURCE, index_of([(member, child(member, "linux/amd64"))]), "2.0")
    scene.memory.fail("manifest", DeniedError("no"), at=SOURCE, ref=member.digest)

    run, forecast = await scene.forecast(make_rule())

    assert shown(forecast) == [("rule", str(A), "1.0")]
    assert stands(run) == {("2.0", A): FAILED}
    assert results(run)[0].digest == index.digest
    assert codes(run) == {"2.0": "DENIED"}
    assert exits(run) == 1


async def test_forecast_warns_once_of_a_target_that_does_not_say_what_it_holds(scene: Scene, image: Content) -> None:
    scene.memory.add(SOURCE, make_image("other", layers=5), "2.0")
    scene.memory.add(B, image)
    scene.memory.fail("has_blob", UnavailableError("no answer"), at=A, times=None)

    _, forecast = await scene.forecast(make_rule("rule", A, B))

    (warning,) = forecast.warnings
    assert warning.startswith(f"{A} cannot say which blobs it holds: UNAVAILABLE: no answer")
    assert [change.estimate.existing[0] for change in forecast.changes if change.target == B] == [3, 0]


async def test_forecast_asks_a_mute_target_no_more(scene: Scene) -> None:
    for number in range(30):
        scene.memory.add(SOURCE, make_image(f"app{number}"), f"1.{number}")
    scene.memory.fail("has_blob", UnavailableError("no answer"), at=A)

    await scene.forecast(make_rule())

    assert scene.memory.count("has_blob", at=A) < 30 * 3


async def test_forecast_and_run_settle_the_same(scene: Scene, image: Content) -> None:
    scene.memory.add(SOURCE, make_image("other"), "2.0")
    old = scene.memory.add(A, make_image("old"), "2.0")
    scene.memory.add(B, old, "1.0")
    rule = make_rule("rule", A, B)
    strict = replace(rule, policy=replace(rule.policy, overwrite=False))

    before, forecast = await scene.forecast(strict)
    after = await scene.sync(strict)

    assert set(stands(before)) == {("2.0", A), ("1.0", B)}
    assert set(stands(after)) == {("1.0", A), ("2.0", A), ("1.0", B), ("2.0", B)}
    assert len(shown(forecast)) == 2
    assert adds_up(after)
