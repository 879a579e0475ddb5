from __future__ import annotations

import re
import socket
from datetime import UTC, datetime

import pytest

from mirrord.cli.demo import saved_lines
from mirrord.cli.demoservice import free_port, release_line
from mirrord.oci.reference import Repository
from mirrord.planning.report import BlobTally, Outcome, RuleReport, RunReport, UnitResult
from mirrord.planning.status import BlobCount, BlobCounts, Cause, RunStatus
from tests.fakes.commands import run_command

pytestmark = pytest.mark.usefixtures("bare")


def test_the_demo_plans_mirrors_and_finds_nothing_left_to_do() -> None:
    done = run_command("demo", "--exit", "--no-progress")

    assert done.code == 0
    assert "10 images: 10 to copy" in done.stdout
    assert "10 images: 10 copied" in done.stdout
    assert "no changes: 10 in sync" in done.stdout
    assert re.search(r"not sent, for the target had it +\d+ MiB \(\d\d%\)", done.stdout)
    assert not done.stderr


def test_the_demo_does_not_depend_on_what_the_user_has_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIRRORD_CONFIG", "/nowhere.yaml")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")

    assert run_command("demo", "--exit").code == 0


def test_the_demo_does_not_end_and_keep_registries_at_once() -> None:
    done = run_command("demo", "--exit", "--registries")

    assert done.code == 2
    assert "--exit and --registries do not go together" in done.stderr


def test_the_demo_says_what_deduplication_saved() -> None:
    result = UnitResult(
        rule="r",
        source=Repository("s.test", "a"),
        target=Repository("t.test", "a"),
        tags=((None, None),),
        outcome=Outcome.COPIED,
        reason="",
        blobs=BlobTally(existed=(1, 1024), mounted=(1, 1024), uploaded=(2, 2048)),
    )
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    report = RunReport(started=moment, finished=moment, dry_run=False, rules=(RuleReport(rule="r", results=(result,)),))

    text = "\n".join(line.plain for line in saved_lines(report))

    assert "4.0 KiB" in text
    assert "2.0 KiB (50%)" in text


def test_the_demo_says_what_was_made_of_a_release() -> None:
    run = RunStatus(
        id="1",
        rule="shop",
        cause=Cause.SCHEDULE,
        started=datetime(2026, 1, 1, tzinfo=UTC),
        finished=datetime(2026, 1, 1, 0, 0, 1, tzinfo=UTC),
        outcomes={"copied": 2},
        blobs=BlobCounts(uploaded=BlobCount(count=1, bytes=1024), existed=BlobCount(count=3, bytes=4096)),
    )

    assert release_line(run, ["1.4.0"]) == (
        "shop/web:1.4.0 released: 2 tags mirrored in 1.0 s, 1.0 KiB uploaded, 4.0 KiB spared"
    )
    assert release_line(run, []).startswith("shop: 2 tags mirrored")


def test_the_demo_takes_another_port_where_its_own_is_taken() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        assert free_port(port) == 0
    assert free_port(port) == port
