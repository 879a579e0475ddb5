from __future__ import annotations

import pytest

from mirrord.oci.digest import Digest
from mirrord.planning.report import BlobOutcome, PullQuota, TrafficReport
from mirrord.ports.events import (
    BlobFinished,
    BlobProgress,
    BlobSettled,
    BlobStarted,
    Event,
    ManifestPulled,
    Noted,
    QuotaTold,
    RequestDone,
    RequestRetried,
    RuleStarted,
)
from mirrord.sync.traffic import Traffic
from tests.fakes.images import make_image
from tests.fakes.memory import Recorder
from tests.unit.sync.scene import SOURCE, A, B, Scene, make_rule

DIGEST = Digest.of(b"blob")


def tell(*events: Event) -> TrafficReport:
    traffic = Traffic(Recorder())
    for event in events:
        traffic.emit(event)
    return traffic.report()


def started(transfer: int) -> BlobStarted:
    return BlobStarted(transfer=transfer, digest=DIGEST, size=100, source=SOURCE, targets=(A, B))


def settled(outcome: BlobOutcome) -> BlobSettled:
    return BlobSettled(target=A, digest=DIGEST, size=100, outcome=outcome)


def test_traffic_begins_with_nothing() -> None:
    assert tell() == TrafficReport()


def test_traffic_counts_requests_by_registry() -> None:
    report = tell(
        RequestDone(host="a.test", method="GET", status=200, seconds=0.1),
        RequestDone(host="b.test", method="GET", status=404, seconds=0.1),
        RequestDone(host="a.test", method="PUT", status=0, seconds=0.1),
    )

    assert report.requests == {"a.test": 2, "b.test": 1}


def test_traffic_counts_retries() -> None:
    retried = RequestRetried(host="a.test", reason="503", wait_s=1.0)

    assert tell(retried, retried).retries == 2


def test_traffic_counts_bytes_read_at_the_source_of_their_transfer() -> None:
    report = tell(
        started(1),
        started(2),
        BlobProgress(transfer=2, read=60, host=SOURCE.host),
        BlobProgress(transfer=1, read=100, host=SOURCE.host),
        BlobFinished(transfer=1),
        BlobProgress(transfer=2, read=40, host=SOURCE.host),
    )

    assert report.bytes_read == {SOURCE.host: 200}


@pytest.mark.parametrize(
    ("outcome", "written"),
    [
        (BlobOutcome.UPLOADED, {A.host: 100}),
        (BlobOutcome.MOUNTED, {}),
        (BlobOutcome.EXISTED, {}),
        (BlobOutcome.FAILED, {}),
    ],
)
def test_traffic_counts_bytes_written_where_they_were_uploaded(outcome: BlobOutcome, written: dict[str, int]) -> None:
    assert tell(settled(outcome)).bytes_written == written


def test_traffic_passes_every_event_on() -> None:
    then = Recorder()
    traffic = Traffic(then)
    events: list[Event] = [
        RuleStarted(rule="r"),
        started(1),
        settled(BlobOutcome.UPLOADED),
        Noted(what="x", text="y"),
        RequestDone(host="a.test", method="GET", status=200, seconds=0.1),
    ]

    for event in events:
        traffic.emit(event)

    assert then.events == events


@pytest.mark.anyio
async def test_traffic_of_a_run_is_one_read_and_one_upload_a_target() -> None:
    scene = Scene()
    image = scene.memory.add(SOURCE, make_image("app"), "1.0")
    traffic = Traffic(scene.events)
    scene.events = traffic

    await scene.sync(make_rule("rule", A, B))

    size = sum(map(len, image.blobs.values()))
    assert traffic.report().bytes_read == {SOURCE.host: size}
    assert traffic.report().bytes_written == {A.host: size, B.host: size}


def test_traffic_counts_pulls_and_keeps_what_was_told_last() -> None:
    report = tell(
        ManifestPulled(host="a.test"),
        QuotaTold(host="a.test", quota=PullQuota(remaining=9)),
        ManifestPulled(host="a.test"),
        QuotaTold(host="a.test", quota=PullQuota(remaining=8, reserve=10)),
        ManifestPulled(host="b.test"),
    )

    assert report.pulls == {"a.test": 2, "b.test": 1}
    assert report.quotas == {"a.test": PullQuota(remaining=8, reserve=10)}
    assert report.quotas["a.test"].free == 0
