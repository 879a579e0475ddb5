"""Docker Hub's quota of pulls, in whole runs: what is spent, what is said before, and what the reserve keeps."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from mirrord.cli.planreport import plan_json, plan_lines
from mirrord.cli.runreport import run_lines
from mirrord.demo.registry.asgi import Answer
from mirrord.errors import QuotaExhaustedError
from mirrord.oci.reference import Tag
from mirrord.planning.attachment import cosign_tags
from mirrord.planning.report import Outcome, PullQuota, RunReport, exit_code
from tests.fakes.clock import START
from tests.fakes.faults import Change, Respond
from tests.fakes.images import Content, make_artifact, make_image, make_index
from tests.fakes.registries.dockerhub import DOCKERHUB, HOST
from tests.traps.hub import TARGET, HubPass, Scene, codes, scene

pytestmark = pytest.mark.anyio

PATH = "acme/app"
IMAGE = make_image("app")


def trap(name: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("trap", [pytest.param("", id=name)])


def fill(net: Scene, count: int = 3, path: str = PATH) -> list[Content]:
    """Add indexes of two platforms each: three manifests an image."""
    return [net.add(path, make_index(f"{path}-{i}", layers=1), f"1.{i}") for i in range(count)]


def report_text(found: HubPass) -> str:
    report = RunReport(
        started=START,
        finished=START + timedelta(seconds=1),
        dry_run=False,
        rules=tuple(found.reports),
        traffic=found.traffic,
    )
    return "\n".join(line.plain for line in run_lines(report))


# --- what is spent


@trap("trap-26-dockerhub-unchanged")
async def test_unchanged_rule_spends_no_pull(trap: str) -> None:
    """Looking is free: a second pass over what is in sync asks by HEAD alone."""
    async with scene() as net:
        fill(net)
        first = await net.sync(net.rule(PATH))
        net.hub.traffic.clear()
        second = await net.sync(net.rule(PATH))

    assert first.count(Outcome.COPIED) == second.count(Outcome.IN_SYNC) == 3
    assert second.counted == 0
    assert net.hub.traffic.counts["manifest GET"] == 0
    assert second.traffic.pulls == {}
    left = PullQuota(limit=100, remaining=91, window_s=21_600)
    assert second.traffic.quotas in ({}, {HOST: left}), "told by a HEAD alone, where a tag had its turn"


@trap("trap-26-dockerhub-exact")
async def test_first_pass_spends_one_pull_for_each_manifest_and_the_plan_says_so_before(trap: str) -> None:
    """Index, children, a signature under cosign's tag, an SBOM below the fallback tag: each once, in every count."""
    async with scene() as net:
        images = fill(net, 2)
        net.add(PATH, make_artifact("signature"), cosign_tags(images[0].digest)[0].name)
        sbom = net.add(PATH, make_artifact("sbom", subject=images[1].descriptor))
        async with net.client() as client:  # the fallback tag, as a client on a registry without the API writes it
            await client.writer(PATH).put_manifest(sbom.root)
        before = net.hub.switches.pulled
        planned = await net.plan(net.rule(PATH))
        spent_by_plan = net.hub.switches.pulled - before
        found = await net.sync(net.rule(PATH))

    needed = 2 * 3 + 1 + 2  # two indexes of two, the signature, the SBOM and the index that names it
    assert found.problems == []
    assert found.counted == needed
    assert found.traffic.pulls == planned.traffic.pulls == {HOST: needed}
    assert spent_by_plan == needed
    assert len(net.other.store.manifests(f"mirror/{PATH}")) == needed - 1  # there the API tells, and no index
    assert plan_json(planned, 0)["pulls"] == {
        HOST: {
            "needed": needed,
            "limit": 100,
            "remaining": 100 - before - needed,
            "window_seconds": 21_600,
            "reserve": 0,
        }
    }


async def test_manifest_that_several_images_share_is_pulled_once() -> None:
    """Two indexes with a child in common cost that child once, in both rules that want it."""
    async with scene() as net:
        index = net.add(PATH, make_index("app"), "1.0")
        child = index.manifests[index.index.children()[0].digest]
        net.hub.store.tag(PATH, "1.0-amd64", child.descriptor.digest)
        other = replace(net.rule(PATH), name="other", targets=net.rule("acme/other").targets)
        planned = await net.plan(net.rule(PATH), other)
        found = await net.sync(net.rule(PATH), other)

    assert found.problems == []
    assert found.counted == 3
    assert planned.traffic.pulls == {HOST: 3}
    assert sum(change.estimate.pulls for change in planned.forecast.changes) == 3


async def test_pull_whose_token_was_refused_counts_once() -> None:
    """A 401 is no pull: the manifest is fetched again with a new token, and counts then."""
    async with scene() as net:
        image = net.add(PATH, make_image("app"), "1.0")
        async with net.client() as client:
            await client.reader(PATH).head(Tag("1.0"))
            net.hub.tokens.revoke_all()
            await client.reader(PATH).manifest(image.digest)
            await client.reader(PATH).manifest(image.digest)

    assert [record.status for record in net.hub.traffic.of("manifest GET")] == [401, 200]
    assert net.hub.switches.pulled == 1


async def test_registry_without_quota_headers_has_no_limit() -> None:
    """No headers mean unlimited: nothing is kept back, and the report claims no numbers."""
    async with scene(pulls=None) as net:
        fill(net)
        found = await net.sync(net.rule(PATH), reserve=20)
        planned = await net.plan(net.rule(PATH), reserve=20)

    assert found.count(Outcome.COPIED) == 3
    assert found.traffic.pulls == {HOST: 9}
    assert found.traffic.quotas == {}
    assert f"{HOST}: 9 pulls spent, of which no limit is told" in report_text(found)
    assert planned.traffic.pulls == {}


async def test_report_says_what_was_spent_and_what_is_left() -> None:
    async with scene() as net:
        fill(net)
        found = await net.sync(net.rule(PATH), reserve=20)

    assert report_text(found).splitlines()[-1] == f"{HOST}: 9 pulls spent, 91 of 100 left in 6 h, 20 reserved"


# --- the reserve


@trap("trap-26-dockerhub-reserve")
async def test_reserve_is_never_spent_and_the_rest_of_the_run_goes_on(trap: str) -> None:
    """With 6 h to wait, images go without; rules of other registries go on, and the result says until when."""
    async with scene(pulls=26) as net:
        fill(net, 3)
        net.add("free/app", make_image("free"), "1.0", registry=net.other)
        found = await net.sync(net.rule(PATH), net.rule("free/app", TARGET), reserve=20)

    assert found.counted == 6
    assert net.hub.switches.pulled == 6
    assert found.count(Outcome.COPIED) == 3
    assert found.count(Outcome.FAILED) == 1
    [problem] = found.faults
    assert problem.code == "QUOTA_RESERVED"
    assert problem.message == (
        "docker.io: 20 of 26 pulls in 6 h are left, all of them within the reserve of 20; "
        "there will be more by 2026-01-01 06:00 UTC"
    )
    assert "run again after 2026-01-01 06:00 UTC" in problem.remedy
    assert exit_code(found.reports) == 1
    assert net.clock.slept == []
    assert len(net.served(PATH)) == 2


async def test_first_contact_with_a_reserve_is_a_look_that_costs_nothing() -> None:
    """Nothing is known yet: a HEAD tells that the reserve is all there is, and nothing is fetched."""
    async with scene(pulls=20) as net:
        image = net.add(PATH, make_image("app"), "1.0")
        async with net.client(reserve=20) as client:
            with pytest.raises(QuotaExhaustedError, match="QUOTA_RESERVED"):
                await client.reader(PATH).manifest(image.digest)

    assert net.hub.traffic.counts["manifest HEAD"] == 1
    assert net.hub.traffic.counts["manifest GET"] == 0


async def test_two_rules_share_what_is_left() -> None:
    """There is one quota for a registry, whichever rule pulls."""
    async with scene(pulls=10) as net:
        fill(net, 1, "acme/one")
        fill(net, 3, "acme/two")
        found = await net.sync(net.rule("acme/one"), net.rule("acme/two"), reserve=4)

    assert found.counted == 6
    assert found.count(Outcome.COPIED) == 2
    assert codes(found.faults) == ["QUOTA_RESERVED"] * 2


async def test_pulls_wait_for_a_window_that_ends_soon() -> None:
    """A minute's window: everything is copied, in time, and never more than the quota leaves above the reserve."""
    async with scene(pulls=5, window_s=60) as net:
        images = fill(net, 4)
        found = await net.sync(net.rule(PATH), reserve=2)

    assert found.problems == []
    assert found.count(Outcome.COPIED) == 4
    assert found.counted == 12
    assert net.served(PATH) == {f"1.{i}": image.digest for i, image in enumerate(images)}
    assert all(record.status != 429 for record in net.hub.traffic.records)
    assert 180 <= net.clock.monotonic() < 300


async def test_nothing_is_held_while_a_pull_waits() -> None:
    """A pull that waits for the window holds no place: with a single one, looks and blobs still pass."""
    async with scene(pulls=1, window_s=600) as net:
        one, two = (net.add(PATH, make_image(f"app {i}"), f"1.{i}") for i in range(2))
        async with net.client() as client:
            throttle = client.http.throttle
            await client.reader(PATH).manifest(one.digest)
            free: list[bool] = []
            slept = net.clock.sleep

            async def watched(seconds: float) -> None:
                free.append(throttle.place().free == throttle.concurrency)
                await slept(seconds)

            net.clock.sleep = watched  # type: ignore[method-assign] # a clock of the test's own
            await client.reader(PATH).manifest(two.digest)

    assert free
    assert all(free)
    assert net.hub.switches.pulled == 2


async def test_waiting_ends_where_others_take_what_comes() -> None:
    """Another machine eats the window as it rolls: waiting is bounded, and then the image goes without."""
    async with scene(pulls=5, window_s=300) as net:
        image = net.add(PATH, make_image("app"), "1.0")
        async with net.client(reserve=5) as client:
            with pytest.raises(QuotaExhaustedError, match="QUOTA_RESERVED"):
                await client.reader(PATH).manifest(image.digest)

    assert 900 <= net.clock.monotonic() < 1000
    assert net.hub.traffic.counts["manifest HEAD"] <= 40
    assert net.hub.traffic.counts["manifest GET"] == 0


# --- used up


@trap("trap-26-dockerhub-429")
async def test_quota_that_is_used_up_ends_the_image_without_retries(trap: str) -> None:
    """The 429 of the quota is no call to slow down: no retries of minutes each, no pause of the registry."""
    profile = replace(DOCKERHUB, rate=replace(DOCKERHUB.rate, headers=False))
    async with scene(profile, pulls=0) as net:
        fill(net, 2)
        found = await net.sync(net.rule(PATH))

    assert found.count(Outcome.FAILED) == 2
    assert codes(found.faults) == ["QUOTA_EXHAUSTED"] * 2
    assert found.traffic.retries == 0
    assert net.clock.slept == []


async def test_everything_but_pulls_goes_on_when_the_quota_is_used_up() -> None:
    """The registry is not paused: looks and blobs are free."""
    async with scene(pulls=0) as net:
        image = net.add(PATH, make_image("app"), "1.0")
        async with net.client() as client:
            with pytest.raises(QuotaExhaustedError):
                await client.reader(PATH).manifest(image.digest)
            assert await client.reader(PATH).head(Tag("1.0")) is not None
            async with client.reader(PATH).blob(image.root.blobs()[0]) as pieces:
                assert b"".join([piece async for piece in pieces])

    assert net.clock.slept == []
    assert net.hub.traffic.counts["manifest GET"] == 1


@pytest.mark.parametrize(
    "refusal",
    [
        pytest.param(Respond(429, (("ratelimit-remaining", "0;w=21600"),)), id="trap-26-dockerhub-head-429"),
        pytest.param(Respond(200, (("ratelimit-remaining", "0;w=21600"),)), id="trap-26-dockerhub-head-200"),
    ],
)
async def test_look_at_the_end_of_the_quota_is_believed_whether_it_is_answered_or_not(refusal: Respond) -> None:
    """Looks are free; should the registry refuse them too when nothing is left, they are not tried again."""
    async with scene(pulls=0) as net:
        net.add(PATH, IMAGE, "1.0")
        net.hub.fault(Change(lambda answer: with_refusal(answer, refusal)), kind="manifest HEAD", times=None)
        found = await net.sync(net.rule(PATH))

    assert codes(found.faults) == ["QUOTA_EXHAUSTED"]
    assert net.hub.traffic.counts["manifest HEAD"] == 1
    assert net.hub.traffic.counts["manifest GET"] == 0
    assert net.clock.slept == []


def with_refusal(answer: Answer, refusal: Respond) -> Answer:
    """Return the true answer under another status, with what it tells of the quota."""
    return replace(answer, status=refusal.status, headers=(*answer.headers, *refusal.headers))


async def test_last_pulls_are_not_tried_when_none_is_left() -> None:
    """Pulls end before the registry refuses: what the headers tell is believed."""
    async with scene(pulls=4) as net:
        fill(net, 3)
        found = await net.sync(net.rule(PATH))

    assert found.counted == 4
    assert all(record.status != 429 for record in net.hub.traffic.records)
    assert set(codes(found.faults)) == {"QUOTA_EXHAUSTED"}
    assert "0 of 4 pulls in 6 h are left" in found.faults[0].message


async def test_abuse_limit_is_waited_for_as_any_other() -> None:
    """A plain 429 without the text of the quota pauses the registry and is tried again."""
    async with scene() as net:
        image = net.add(PATH, make_image("app"), "1.0")
        net.hub.fault(Respond(429, (("Retry-After", "30"),), b"Too Many Requests"), kind="manifest GET")
        async with net.client() as client:
            await client.reader(PATH).manifest(image.digest)

    assert 30 <= net.clock.monotonic() < 40


async def test_registry_that_says_when_there_is_more_is_waited_for() -> None:
    """The quota's 429 with a hint of 30 s: the pull waits for that moment, asks by HEAD, and is made."""
    refusal = replace(DOCKERHUB.rate.refusal, headers=(("Retry-After", "30"),))
    profile = replace(DOCKERHUB, rate=replace(DOCKERHUB.rate, headers=False, refusal=refusal))
    async with scene(profile, pulls=1, window_s=30) as net:
        one, two = (net.add(PATH, make_image(f"app {i}"), f"1.{i}") for i in range(2))
        async with net.client() as client:
            await client.reader(PATH).manifest(one.digest)
            await client.reader(PATH).manifest(two.digest)

    assert net.hub.switches.pulled == 2
    assert 30 <= net.clock.monotonic() < 60


# --- the plan


async def test_plan_says_when_more_pulls_are_needed_than_are_left() -> None:
    async with scene(pulls=40) as net:
        fill(net, 5)
        planned = await net.plan(net.rule(PATH), reserve=20)

    lines = [line.plain for line in plan_lines(planned, everything=False)]
    assert lines[-2] == (f"{HOST}: 15 pulls needed, as many as this plan spent; 25 of 40 left in 6 h, 20 reserved")
    assert lines[-1] == (
        f"warning: {HOST}: 15 pulls are needed, and only 5 are left above the reserve of 20; "
        "the other images wait for the next window"
    )


async def test_plan_that_comes_to_the_reserve_says_that_more_is_needed() -> None:
    """Planning reads what the run reads, and stops at the same reserve."""
    async with scene(pulls=24) as net:
        fill(net, 3)
        planned = await net.plan(net.rule(PATH), reserve=20)

    text = "\n".join(line.plain for line in plan_lines(planned, everything=False))
    assert net.hub.switches.pulled == 4
    assert f"{HOST}: at least 4 pulls needed" in text
    assert "QUOTA_RESERVED" in text
    assert json.dumps(plan_json(planned, 1)).count("QUOTA_RESERVED") >= 2


async def test_plan_between_registries_without_a_quota_speaks_of_no_pulls() -> None:
    async with scene() as net:
        net.add("free/app", make_image("free"), "1.0", registry=net.other)
        planned = await net.plan(net.rule("free/app", TARGET))

    assert "pull" not in "\n".join(line.plain for line in plan_lines(planned, everything=False))
    assert plan_json(planned, 0)["pulls"] == {}
    assert planned.forecast.total.pulls == 0
