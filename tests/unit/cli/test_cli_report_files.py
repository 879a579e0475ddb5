from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from mirrord.cli.reportfiles import write_file
from mirrord.errors import MirrordError
from tests.fakes.commands import Finished, run_command, serving
from tests.fakes.images import make_image
from tests.fakes.profiles import DISTRIBUTION_V3
from tests.fakes.registry import FakeRegistry
from tests.fakes.stores import put


@pytest.fixture
def registries(bare: Path) -> Iterator[tuple[FakeRegistry, FakeRegistry]]:
    with serving(DISTRIBUTION_V3, DISTRIBUTION_V3) as (source, target):
        put(source.store, "team/app", make_image("app"), "1.0")
        config(bare, source.host, target.host)
        yield source, target


def config(directory: Path, source: str, target: str, password: str = "echo x") -> None:
    """Write a configuration with one rule; ``password`` is the program that tells the target's."""
    credential = f"username: u, password: {{command: [sh, -c, '{password}']}}"
    (directory / "c.yaml").write_text(
        "version: 1\n"
        f"registries: {{'{source}': {{plain_http: true}}, '{target}': {{plain_http: true, {credential}}}}}\n"
        "rules:\n"
        f"  - source: {source}/team/app\n"
        f"    targets: [{target}/mirror/app]\n"
        "    tags: {include: []}\n"
        "    name: app\n"
    )


def sync(*options: str) -> Finished:
    return run_command("sync", "--once", "-c", "c.yaml", "--no-progress", *options)


@pytest.mark.usefixtures("registries")
def test_sync_writes_every_report_that_is_asked_for(bare: Path) -> None:
    (bare / "out").mkdir()

    done = sync("--report", "junit=out/j.xml", "--report", "markdown=m.md", "--report", "json=r.json", "-o", "json")

    assert (done.code, done.stderr) == (0, "")
    assert ET.parse(bare / "out" / "j.xml").getroot().attrib["tests"] == "1"
    assert "1 image copied, everything in sync" in (bare / "m.md").read_text("utf-8")
    assert (bare / "r.json").read_text() == done.stdout
    assert sorted(path.name for path in bare.iterdir()) == ["c.yaml", "m.md", "out", "r.json"]


def test_reports_tell_of_a_run_with_failures(bare: Path, registries: tuple[FakeRegistry, FakeRegistry]) -> None:
    config(bare, registries[0].host, "127.0.0.1:1")

    done = sync("--report", "junit=j.xml", "--report", "markdown=m.md")

    assert done.code == 1
    failures = list(ET.parse(bare / "j.xml").getroot().iter("failure"))
    assert [failure.attrib["type"] for failure in failures] == ["UNAVAILABLE"]
    assert "### Failed" in (bare / "m.md").read_text("utf-8")


@pytest.mark.parametrize(
    ("report", "told"),
    [
        pytest.param("junit", "USAGE: --report takes KIND=FILE", id="no-file"),
        pytest.param("xml=j.xml", "USAGE: --report takes KIND=FILE", id="unknown-kind"),
        pytest.param("junit=", "USAGE: --report junit needs a file", id="empty"),
        pytest.param("junit=-", "USAGE: --report junit needs a file", id="stdout"),
        pytest.param("junit=nowhere/j.xml", "its directory does not exist", id="no-directory"),
        pytest.param("junit=.", "it is a directory", id="directory"),
        pytest.param("junit=/dev/null", "it is no regular file", id="device"),
        pytest.param("json=./c.yaml", "that is the configuration file", id="the-configuration"),
        pytest.param("junit=/proc/self/j.xml", "its directory cannot be written to", id="read-only"),
        pytest.param("junit=" + "n" * 300 + "/j.xml", "cannot be written: File name too long", id="too-long"),
    ],
)
def test_report_that_cannot_be_written_is_refused_before_anything_is_attempted(
    bare: Path, registries: tuple[FakeRegistry, FakeRegistry], report: str, told: str
) -> None:
    done = sync("--report", report)

    assert done.code == 2
    assert told in done.stderr
    assert not [*registries[0].traffic.records, *registries[1].traffic.records]
    assert [path.name for path in bare.iterdir()] == ["c.yaml"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        pytest.param(["--report", "junit=j.xml"], "--report cannot be used without --once", id="as-a-service"),
        pytest.param(["--once", "--dry-run", "--report", "junit=j"], "cannot be used with --dry-run", id="dry-run"),
        pytest.param(["--once", "--report", "junit=j", "--report", "json=./j"], 'the file "./j" twice', id="twice"),
    ],
)
def test_options_that_contradict_each_other_are_refused(bare: Path, options: list[str], told: str) -> None:
    done = run_command("sync", "-c", "c.yaml", *options)

    assert done.code == 2
    assert "error: USAGE_CONFLICT: " in done.stderr
    assert told in done.stderr


def test_report_that_fails_at_the_end_is_told_and_fails_a_run_that_went_well(
    bare: Path, registries: tuple[FakeRegistry, FakeRegistry]
) -> None:
    """The directory is there when the run begins; the program that tells the password removes it."""
    (bare / "out").mkdir()
    config(bare, registries[0].host, registries[1].host, password="rmdir out; echo x")

    done = sync("--report", "junit=out/j.xml", "--report", "markdown=m.md", "-o", "json")

    assert done.code == 1
    assert done.stderr.startswith(
        'error: REPORT_UNWRITABLE: the report "out/j.xml" could not be written: No such file or directory; '
    )
    assert json.loads(done.stdout)["totals"]["copied"] == 1
    assert json.loads(done.stdout)["exit_code"] == 1
    assert "1 image copied" in (bare / "m.md").read_text("utf-8")


def test_report_that_fails_at_the_end_leaves_another_exit_code_as_it_is(
    bare: Path, registries: tuple[FakeRegistry, FakeRegistry]
) -> None:
    (bare / "out").mkdir()
    config(bare, registries[0].host, registries[1].host, password="rmdir out; false")

    done = sync("--report", "junit=out/j.xml")

    assert done.code == 3
    assert "error: REPORT_UNWRITABLE" in done.stderr


def test_run_that_could_not_begin_leaves_reports_that_say_so(bare: Path) -> None:
    """A report of an earlier run must not be taken for it."""
    (bare / "c.yaml").write_text("version: 1\nrules:\n  - label: app\n")
    (bare / "j.xml").write_text("<testsuites/>")

    done = sync("--report", "junit=j.xml", "--report", "markdown=m.md", "--report", "json=r.json")

    assert done.code == 2
    failures = list(ET.parse(bare / "j.xml").getroot().iter("failure"))
    assert "CONFIG_UNKNOWN_KEY" in {failure.attrib["type"] for failure in failures}
    assert "c.yaml:3:5" in failures[0].attrib["message"]
    assert "\N{CROSS MARK} mirrord: 4 problems" in (bare / "m.md").read_text("utf-8")
    assert json.loads((bare / "r.json").read_text())["error"]["code"] == "CONFIG_INVALID"


def test_run_without_its_secret_leaves_reports_that_say_so(bare: Path) -> None:
    (bare / "c.yaml").write_text(
        "version: 1\n"
        "registries: {r.example: {username: u, password: {file: /nowhere}}}\n"
        "rules: [{name: app, source: r.example/a, targets: [r.example/b]}]\n"
    )

    done = sync("--report", "junit=j.xml")

    assert done.code == 3
    failures = list(ET.parse(bare / "j.xml").getroot().iter("failure"))
    assert [failure.attrib["type"] for failure in failures] == ["SECRET_FILE_MISSING"]


def test_file_takes_the_place_of_the_old_one_at_once(tmp_path: Path) -> None:
    """Readers that have the old one open see it to its end, links and rights stay."""
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_text("old")
    real.chmod(0o640)
    link.symlink_to(real)
    with real.open() as opened:
        write_file(str(link), "new")

        assert opened.read() == "old"
    assert link.is_symlink()
    assert real.read_text() == "new"
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert len(list(tmp_path.iterdir())) == 2


def test_new_file_has_the_rights_that_the_process_gives(tmp_path: Path) -> None:
    mask = os.umask(0o027)
    try:
        write_file(str(tmp_path / "new"), "text")
    finally:
        os.umask(mask)

    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o640


def test_directory_that_is_gone_is_an_error_with_the_path(tmp_path: Path) -> None:
    with pytest.raises(MirrordError, match=r"gone/report.xml.* No such file or directory") as caught:
        write_file(str(tmp_path / "gone" / "report.xml"), "text")

    assert caught.value.code == "REPORT_UNWRITABLE"


@pytest.fixture
def step(bare: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A step of GitHub Actions whose checkout is the working directory; what it writes is in the directory `step`."""
    files = bare.parent / "step"
    files.mkdir()
    for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY"):
        (files / name).touch()
        monkeypatch.setenv(name, str(files / name))
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_WORKSPACE", str(bare))
    return files


def outputs(step: Path) -> dict[str, str]:
    lines = (step / "GITHUB_OUTPUT").read_text().splitlines()
    return {name.partition("<<")[0]: value for name, value in zip(lines[::3], lines[1::3], strict=True)}


def test_step_of_github_actions_annotates_the_rule_and_tells_its_sums(
    bare: Path, step: Path, registries: tuple[FakeRegistry, FakeRegistry]
) -> None:
    config(bare, registries[0].host, "127.0.0.1:1")

    done = sync("-o", "json")

    assert done.code == 1
    assert json.loads(done.stdout)["exit_code"] == 1
    assert done.stderr.startswith("::error title=rule app%3A UNAVAILABLE,file=c.yaml,line=7,col=5::")
    assert len(done.stderr.splitlines()) == 1
    assert (outputs(step)["failed"], outputs(step)["exit_code"]) == ("1", "1")
    assert "\N{CROSS MARK} mirrord: 1 image failed" in (step / "GITHUB_STEP_SUMMARY").read_text("utf-8")


@pytest.mark.usefixtures("registries")
def test_step_that_went_well_annotates_nothing(step: Path) -> None:
    done = sync()

    assert (done.code, done.stderr) == (0, "")
    assert outputs(step)["copied"] == "1"
    assert "1 image copied" in (step / "GITHUB_STEP_SUMMARY").read_text("utf-8")


def test_step_annotates_each_problem_of_a_configuration_once(bare: Path, step: Path) -> None:
    (bare / "c.yaml").write_text("version: 1\nrules: [{name: a, source: x/y, targets: [r.example/z], shedule: 15m}]\n")

    done = sync()
    checked = run_command("config", "validate", "-c", "c.yaml")

    for one in (done, checked):
        assert one.code == 2
        commands = [line for line in one.stderr.splitlines() if line.startswith("::")]
        assert len(commands) == 1
        assert commands[0].startswith("::error title=CONFIG_UNKNOWN_KEY,file=c.yaml,line=2,col=")
    assert outputs(step)["exit_code"] == "2"
    assert "mirrord: 1 problem" in (step / "GITHUB_STEP_SUMMARY").read_text("utf-8")


def test_step_annotates_the_warnings_of_a_configuration(bare: Path, step: Path) -> None:
    (bare / "c.yaml").write_text(
        "version: 1\nregistries:\n  r.example:\n    tls: {verify: false}\n"
        "rules: [{name: a, source: x.example/y, targets: [r.example/z]}]\n"
    )

    done = run_command("config", "validate", "-c", "c.yaml")

    assert done.code == 0
    assert "\n::warning title=TLS_UNVERIFIED,file=c.yaml,line=4,col=11::" in done.stderr


def test_no_step_writes_no_annotations(bare: Path) -> None:
    (bare / "c.yaml").write_text("version: 2\n")

    assert "::error" not in sync().stderr
