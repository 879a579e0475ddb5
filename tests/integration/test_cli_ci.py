"""`mirrord sync --once` as a job of a pipeline has it: the command line as a process, with every option at once."""

from __future__ import annotations

import json
import signal
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree as ET

import anyio
import anyio.to_thread
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.fakes.faults import Hold
from tests.fakes.images import make_image
from tests.fakes.registry import FakeRegistry
from tests.fakes.stores import put
from tests.integration.command import COMMAND_S, Mirrord

pytestmark = pytest.mark.anyio


class Job(NamedTuple):
    """A step of GitHub Actions whose checkout is the working directory of the command."""

    source: FakeRegistry
    target: FakeRegistry
    mirrord: Mirrord
    checkout: Path
    env: dict[str, str]

    @property
    def summary(self) -> str:
        return Path(self.env["GITHUB_STEP_SUMMARY"]).read_text("utf-8")

    @property
    def outputs(self) -> dict[str, str]:
        lines = Path(self.env["GITHUB_OUTPUT"]).read_text("utf-8").splitlines()
        return {name.partition("<<")[0]: value for name, value in zip(lines[::3], lines[1::3], strict=True)}

    def options(self) -> list[str]:
        (self.checkout / "out").mkdir()
        reports = [f"--report={kind}=out/{kind}" for kind in ("junit", "markdown", "json")]
        return [*reports, "--metrics-textfile=out/m.prom", "--pushgateway=http://127.0.0.1:1", "-c", "deploy/c.yaml"]


@pytest.fixture
async def job(mirrord: Mirrord, tmp_path: Path) -> AsyncIterator[Job]:
    files = tmp_path / "step"
    files.mkdir()
    env = {"GITHUB_ACTIONS": "true", "GITHUB_WORKSPACE": str(mirrord.work_dir)}
    for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY"):
        (files / name).touch()
        env[name] = str(files / name)
    async with FakeRegistry() as source, FakeRegistry() as target:
        for name in ("app", "web"):
            put(source.store, f"team/{name}", make_image(name), "1.0")
        hosts = "".join(f"  {host!r}: {{plain_http: true}}\n" for host in (source.host, target.host))
        rules = "".join(
            f"  - name: {name}\n    source: {source.host}/team/{name}\n    targets: [{place}/{name}]\n"
            for name, place in (("app", target.host), ("web", target.host), ("lost", "127.0.0.1:1"))
        )
        put(source.store, "team/lost", make_image("lost"), "1.0")
        (mirrord.work_dir / "deploy").mkdir()
        (mirrord.work_dir / "deploy/c.yaml").write_text(f"version: 1\nregistries:\n{hosts}rules:\n{rules}")
        yield Job(source, target, mirrord, mirrord.work_dir, env)


async def test_job_leaves_reports_metrics_annotations_and_sums_behind(job: Job) -> None:
    run = partial(job.mirrord.run, "sync", "--once", "--no-progress", "-o", "json", *job.options(), env=job.env)

    done = await anyio.to_thread.run_sync(run)

    assert done.code == 1
    out = job.checkout / "out"
    assert sorted(path.name for path in out.iterdir()) == ["json", "junit", "m.prom", "markdown"]
    assert json.loads(done.stdout)["exit_code"] == 1
    assert (out / "json").read_text() == done.stdout
    root = ET.parse(out / "junit").getroot()
    assert (root.attrib["tests"], root.attrib["failures"]) == ("3", "1")
    assert [case.attrib["classname"] for case in root.iter("testcase") if len(case)] == ["lost"]
    markdown = (out / "markdown").read_text("utf-8")
    assert markdown.startswith("## \N{CROSS MARK} mirrord: 1 image failed\n")
    assert job.summary == f"{markdown}\n"
    assert (job.outputs["listed"], job.outputs["copied"], job.outputs["failed"]) == ("3", "2", "1")
    annotation, warning = done.stderr.splitlines()
    assert annotation.startswith("::error title=rule lost%3A UNAVAILABLE,file=deploy/c.yaml,line=12,col=5::")
    assert warning.startswith("warning: PUSHGATEWAY_FAILED: ")
    families = {family.name: family for family in text_string_to_metric_families((out / "m.prom").read_text())}
    results = {s.labels["rule"]: s.labels["result"] for s in families["mirrord_runs"].samples if s.value == 1}
    assert results == {"app": "ok", "web": "ok", "lost": "failed"}


async def test_job_that_is_cancelled_leaves_reports_that_say_so(job: Job) -> None:
    """A pipeline that is cancelled sends SIGINT or SIGTERM, and waits for some seconds."""
    hold = Hold(after=100)
    job.source.fault(hold, kind="blob GET", repository="team/web", times=None)

    process = job.mirrord.start("sync", "--once", "--rule", "web", *job.options(), env=job.env)
    with anyio.fail_after(COMMAND_S):
        await hold.reached.wait()
    process.signal(signal.SIGTERM)
    ended = await anyio.to_thread.run_sync(process.wait)

    assert ended == 143
    out = job.checkout / "out"
    root = ET.parse(out / "junit").getroot()
    assert [failure.attrib["type"] for failure in root.iter("failure")] == ["INTERRUPTED"]
    assert [skipped.attrib["message"] for skipped in root.iter("skipped")] == ["skipped: interrupted"]
    assert "mirrord: interrupted, 1 image left" in (out / "markdown").read_text("utf-8")
    assert json.loads((out / "json").read_text())["interrupted"] is True
    assert job.outputs["exit_code"] == "143"
    assert 'mirrord_runs_total{result="interrupted",rule="web"} 1.0' in (out / "m.prom").read_text()
