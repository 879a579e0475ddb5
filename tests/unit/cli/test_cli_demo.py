from __future__ import annotations

import re
from datetime import UTC, datetime

import anyio
import anyio.to_thread
import pytest

from mirrord.app import App
from mirrord.cli.demo import _Releases, saved_lines
from mirrord.cli.output import Output
from mirrord.cli.session import load, run_async
from mirrord.demo.scenario import open_scene
from mirrord.oci.reference import Repository
from mirrord.planning.report import BlobTally, Outcome, RuleReport, RunReport, UnitResult
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


def test_the_demo_mirrors_latest_each_time_that_it_moves() -> None:
    """What a tag pointed to in one run is not taken for what it points to in the next."""
    with open_scene() as scene:
        config = load(str(scene.config_file))
        releases = _Releases(Output(), scene, config.rules)

        async def body(app: App) -> list[str]:
            lines = []
            for _ in range(3):
                version = await anyio.to_thread.run_sync(scene.release)
                lines.append(await releases._mirror(app, version))
            return lines

        lines = run_async(body, config=config)

    assert ["2 tags mirrored" in line for line in lines[1:]] == [True, True], lines
