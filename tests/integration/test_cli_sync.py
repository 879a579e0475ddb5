"""`mirrord sync --once` and `mirrord plan` as processes, against registries that are emulated in this one."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import anyio.to_thread
import pytest

from tests.fakes.faults import Hold
from tests.fakes.images import Content, make_image, make_index
from tests.fakes.registry import BASIC, FakeRegistry
from tests.integration.command import COMMAND_S, Finished, Mirrord
from tests.integration.processes import free_port

pytestmark = pytest.mark.anyio

PASSWORD = "hunter2-hunter2"


class Bench(NamedTuple):
    """Two registries and the command line."""

    source: FakeRegistry
    target: FakeRegistry
    mirrord: Mirrord

    async def run(self, *arguments: str, env: Mapping[str, str] | None = None) -> Finished:
        """Run a command while the registries of this process go on answering."""
        return await anyio.to_thread.run_sync(partial(self.mirrord.run, *arguments, env=env))

    def config(
        self, *rules: Mapping[str, object], registries: Mapping[str, object] | None = None, name: str = "config.yaml"
    ) -> str:
        """Write a configuration (JSON is YAML) and return its path."""
        entries = {host: {"plain_http": True} for host in (self.source.host, self.target.host)}
        file = self.mirrord.work_dir / name
        file.write_text(json.dumps({"version": 1, "registries": entries | dict(registries or {}), "rules": rules}))
        return str(file)

    def rule(self, name: str = "app", repository: str = "team/app", **options: object) -> dict[str, object]:
        """Return a rule that mirrors a repository of the source."""
        target = f"{self.target.host}/mirror/{repository}"
        return {"name": name, "source": f"{self.source.host}/{repository}", "targets": [target], **options}


@pytest.fixture
async def bench(mirrord: Mirrord) -> AsyncIterator[Bench]:
    async with FakeRegistry() as source, FakeRegistry() as target:
        yield Bench(source, target, mirrord)


def put(registry: FakeRegistry, repository: str, image: Content, *tags: str) -> None:
    """Let a registry hold an image under tags."""
    for blob in image.blobs.values():
        registry.store.add_blob(repository, blob)
    for digest, manifest in image.manifests.items():
        named = tags if digest == image.digest else ()
        registry.store.add_manifest(repository, manifest.raw, manifest.descriptor.media_type, tags=named)


def served(registry: FakeRegistry, repository: str) -> dict[str, str]:
    return {tag: str(digest) for tag, digest in registry.store.tags(repository).items()}


def writes(registry: FakeRegistry) -> list[str]:
    return [record.kind for record in registry.traffic.records if record.method not in {"GET", "HEAD"}]


def assert_adds_up(totals: dict[str, int]) -> None:
    """See that each listed tag is accounted for once on each target."""
    parts = dict(totals)
    assert parts.pop("listed") == sum(
        parts[key] for key in ("filtered", "in_sync", "copied", "skipped", "blocked", "failed")
    )


@pytest.mark.covers("C22", "C49")
async def test_sync_mirrors_what_the_rules_say_and_then_has_nothing_to_do(bench: Bench) -> None:
    put(bench.source, "team/app", make_image("one"), "1.0", "latest")
    put(bench.source, "team/app", make_image("two"), "2.0-rc1")
    config = bench.config(bench.rule(tags={"exclude": ["*-rc*"]}))

    first = await bench.run("sync", "--once", "-c", config, "--output", "json")
    written = len(writes(bench.target))
    second = await bench.run("sync", "--once", "-c", config)

    assert (first.code, second.code) == (0, 0), first.stderr + second.stderr
    report = json.loads(first.stdout)
    assert report["schema_version"] == 1
    assert report["totals"] == {
        "listed": 3,
        "filtered": 1,
        "in_sync": 0,
        "copied": 2,
        "skipped": 0,
        "blocked": 0,
        "failed": 0,
    }
    assert served(bench.target, "mirror/team/app") == {tag: str(make_image("one").digest) for tag in ("1.0", "latest")}
    assert "nothing to do: all 2 images are in sync" in second.stdout
    assert len(writes(bench.target)) == written


async def test_sync_tells_of_each_image_on_stderr_and_reports_on_stdout(bench: Bench) -> None:
    put(bench.source, "team/app", make_image("one"), "1.0")
    config = bench.config(bench.rule())

    done = await bench.run("sync", "--once", "-c", config)

    assert done.stdout.startswith("app  1 copied\n\n1 image: 1 copied\n")
    assert re.match(r"\[1/1\] copied \S+/team/app:1\.0 -> \S+/mirror/team/app: ", done.stderr)


async def test_no_progress_leaves_stderr_empty(bench: Bench) -> None:
    put(bench.source, "team/app", make_image("one"), "1.0")

    done = await bench.run("sync", "--once", "--no-progress", "-c", bench.config(bench.rule()))

    assert (done.code, done.stderr) == (0, "")


async def test_ndjson_is_a_line_for_each_image_and_a_summary(bench: Bench) -> None:
    put(bench.source, "team/app", make_image("one"), "1.0")
    put(bench.source, "team/app", make_image("two"), "2.0")

    done = await bench.run("sync", "--once", "-o", "ndjson", env={"MIRRORD_CONFIG": bench.config(bench.rule())})

    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["type"] for line in lines] == ["image", "image", "summary"]
    assert {line["outcome"] for line in lines[:2]} == {"copied"}
    assert lines[2]["totals"]["copied"] == 2
    assert all(line["schema_version"] == 1 for line in lines)


async def test_only_the_rules_that_were_named_are_carried_out(bench: Bench) -> None:
    put(bench.source, "team/app", make_image("one"), "1.0")
    put(bench.source, "team/web", make_image("two"), "1.0")
    config = bench.config(bench.rule(), bench.rule("web", "team/web"))

    done = await bench.run("sync", "--once", "-c", config, "--rule", "web")

    assert done.code == 0
    assert served(bench.target, "mirror/team/web")
    assert not served(bench.target, "mirror/team/app")


@pytest.mark.covers("C49", "E120")
async def test_a_failed_image_leaves_the_others_done_and_says_what_to_do(bench: Bench) -> None:
    put(bench.source, "team/app", make_image("one"), "1.0")
    config = bench.config(
        bench.rule(tags={"include": ["1.0", "nope"]}),
        bench.rule("gone", "team/gone"),
    )

    done = await bench.run("sync", "--once", "-c", config)
    again = await bench.run("sync", "--once", "-c", config, "-o", "json")

    assert (done.code, again.code) == (1, 1)
    assert served(bench.target, "mirror/team/app") == {"1.0": str(make_image("one").digest)}
    assert f"NOT_FOUND: {bench.source.host}/team/app:nope does not exist" in done.stdout
    assert 'remedy: check the name in rule "app"' in done.stdout
    assert "rule gone\n    NOT_FOUND: " in done.stdout
    report = json.loads(again.stdout)
    assert_adds_up(report["totals"])
    assert report["exit_code"] == 1
    assert [rule["problems"][0]["code"] for rule in report["rules"] if rule["problems"]] == ["NOT_FOUND"]


async def test_a_registry_that_nobody_answers_at_leaves_the_others_done(bench: Bench) -> None:
    put(bench.source, "team/app", make_image("one"), "1.0")
    dead = f"127.0.0.1:{free_port()}"
    lost = {"name": "lost", "source": f"{dead}/team/app", "targets": [f"{bench.target.host}/mirror/lost"]}
    config = bench.config(bench.rule(), lost, registries={dead: {"plain_http": True}})

    done = await bench.run("sync", "--once", "-c", config)

    assert done.code == 1
    assert served(bench.target, "mirror/team/app")
    assert "rule lost\n    UNAVAILABLE: " in done.stdout
    assert dead in done.stdout


@pytest.mark.covers("C47")
async def test_a_run_in_which_no_registry_can_be_used_could_not_start(bench: Bench) -> None:
    dead = f"127.0.0.1:{free_port()}"
    lost = {"name": "lost", "source": f"{dead}/team/app:1", "targets": [f"{bench.target.host}/mirror/lost"]}
    config = bench.config(lost, registries={dead: {"plain_http": True}})

    done = await bench.run("sync", "--once", "-c", config)

    assert done.code == 3
    assert "UNAVAILABLE" in done.stdout


async def test_a_wrong_password_is_named_with_its_registry_and_never_shown(mirrord: Mirrord) -> None:
    async with FakeRegistry(BASIC) as source, FakeRegistry() as target:
        bench = Bench(source, target, mirrord)
        put(source, "team/app", make_image("one"), "1.0")
        entry = {"plain_http": True, "username": "robot", "password": {"env": "SOURCE_PASSWORD"}}
        config = bench.config(bench.rule(), registries={source.host: entry})

        done = await bench.run("sync", "--once", "-c", config, env={"SOURCE_PASSWORD": PASSWORD})

    assert done.code == 3
    assert "AUTH_REJECTED" in done.stdout
    assert source.host in done.stdout
    assert "mirrord auth check" in done.stdout
    assert PASSWORD not in done.stdout + done.stderr


@pytest.mark.covers("E92")
@pytest.mark.parametrize("command", [["sync", "--once"], ["plan"]], ids=["sync", "plan"])
async def test_a_secret_that_is_missing_stops_the_run_before_it_begins(bench: Bench, command: list[str]) -> None:
    entry = {"plain_http": True, "username": "robot", "password": {"file": "/nonexistent/secret"}}
    config = bench.config(bench.rule(), registries={bench.target.host: entry})

    done = await bench.run(*command, "-c", config, "--output", "json")

    assert done.code == 3
    assert json.loads(done.stdout)["error"]["code"] == "SECRET_FILE_MISSING"
    assert "error: SECRET_FILE_MISSING: " in done.stderr
    assert not bench.source.traffic.records


async def test_filters_that_take_nothing_are_a_warning(bench: Bench) -> None:
    put(bench.source, "team/app", make_image("one"), "1.0")

    done = await bench.run("sync", "--once", "-c", bench.config(bench.rule(tags={"include": ["2.*"]})))

    assert done.code == 0
    assert f"rule app: {bench.source.host}/team/app: the tag filters take none of its 1 tags" in done.stdout


async def test_a_tag_that_must_not_move_is_blocked(bench: Bench) -> None:
    put(bench.source, "team/app", make_image("new"), "1.0")
    put(bench.target, "mirror/team/app", make_image("old"), "1.0")

    done = await bench.run("sync", "--once", "-c", bench.config(bench.rule(overwrite=False)))

    assert done.code == 4
    assert "Blocked\n" in done.stdout
    assert "OVERWRITE_FORBIDDEN" in done.stdout
    assert served(bench.target, "mirror/team/app") == {"1.0": str(make_image("old").digest)}


@pytest.mark.covers("D19", "C49")
@pytest.mark.parametrize(
    ("number", "code"), [pytest.param(signal.SIGINT, 130, id="SIGINT"), pytest.param(signal.SIGTERM, 143, id="SIGTERM")]
)
async def test_an_interrupted_run_reports_what_it_did_and_adds_up(
    bench: Bench, number: signal.Signals, code: int
) -> None:
    put(bench.source, "team/app", make_image("quick"), "quick")
    put(bench.source, "team/slow", make_image("slow"), "slow")
    config = bench.config(bench.rule(), bench.rule("slow", "team/slow"))
    hold = Hold(after=100)
    bench.source.fault(hold, kind="blob GET", repository="team/slow", times=None)

    process = bench.mirrord.start("sync", "--once", "-c", config, "-o", "json")
    with anyio.fail_after(COMMAND_S):
        while "quick" not in served(bench.target, "mirror/team/app"):  # noqa: ASYNC110 - another process does it
            await anyio.sleep(0.01)
        await hold.reached.wait()
    process.signal(number)
    ended = await anyio.to_thread.run_sync(process.wait)

    report = json.loads(process.stdout_file.read_text())
    assert (ended, report["exit_code"]) == (code, code)
    assert report["interrupted"] is True
    assert_adds_up(report["totals"])
    outcomes = {image["source"].rpartition("/")[2]: image for rule in report["rules"] for image in rule["images"]}
    assert outcomes["slow"]["outcome"] == "skipped"
    assert outcomes["slow"]["reason"] == "interrupted"
    assert not served(bench.target, "mirror/team/slow")
    assert not bench.target.store.uploads("mirror/team/slow")


@pytest.mark.covers("C47")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["sync"], "error: CONFIG_MISSING: no configuration file was named", id="service"),
        pytest.param(["sync", "--rule", "app"], "--rule cannot be used without --once", id="E113:rule"),
        pytest.param(["sync", "--dry-run"], "--dry-run cannot be used without --once", id="E113:dry-run"),
        pytest.param(["sync", "--daemon"], "No such option: --daemon", id="E113:daemon"),
        pytest.param(["sync", "--once"], "CONFIG_MISSING: no configuration file was named", id="no-configuration"),
        pytest.param(["synk"], "No such command 'synk'. Did you mean 'sync'?", id="E108:command"),
        pytest.param(["sync", "--onec"], "No such option: --onec (Possible options: --once)", id="E108:flag"),
        pytest.param(["sync", "--password", "x"], "name an environment variable, a file or a command", id="E112:sync"),
        pytest.param(["sync", "--once", "-c", "/nonexistent.yaml"], "cannot be read: No such file", id="E110:missing"),
        pytest.param(["sync", "--once", "-c", "/"], "cannot be read: Is a directory", id="E110:directory"),
        pytest.param(["sync", "--once", "--output", "xml"], "Invalid value for '--output'", id="format"),
    ],
)
def test_wrong_usage_is_explained_and_nothing_is_attempted(
    mirrord: Mirrord, arguments: list[str], message: str
) -> None:
    done = mirrord.run(*arguments)

    assert (done.code, done.stdout) == (2, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.covers("E109")
async def test_an_unknown_rule_is_refused_with_the_names_that_there_are(bench: Bench) -> None:
    done = await bench.run("sync", "--once", "-c", bench.config(bench.rule()), "--rule", "ap")

    assert done.code == 2
    assert 'RULE_NOT_FOUND: no rule is called "ap" (did you mean "app"?); the rules are: app' in done.stderr


@pytest.mark.covers("E115")
def test_an_argument_that_is_not_utf_8_is_refused(mirrord: Mirrord) -> None:
    done = subprocess.run(
        [sys.executable.encode(), b"-m", b"mirrord", b"sync", b"--rule", b"\xff"],
        cwd=mirrord.work_dir,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).parents[2]), "LC_ALL": "C.UTF-8"},
        capture_output=True,
        check=False,
    )

    assert done.returncode == 2
    assert b"error: ARGUMENT_INVALID: argument 3 is not UTF-8" in done.stderr


@pytest.mark.covers("E120")
def test_a_faulty_configuration_is_valid_json_on_stdout_and_text_on_stderr(mirrord: Mirrord) -> None:
    (mirrord.work_dir / "c.yaml").write_text("version: 1\nrules:\n  - name: a\n    schedules: 5m\n")

    done = mirrord.run("sync", "--once", "-c", "c.yaml", "-o", "json")

    told = json.loads(done.stdout)
    assert (done.code, told["schema_version"], told["error"]["code"]) == (2, 1, "CONFIG_INVALID")
    assert any(problem["line"] == 4 for problem in told["error"]["problems"])
    assert 'c.yaml:4:5: rules[0].schedules: unknown key (did you mean "schedule"?)' in done.stderr


@pytest.mark.covers("E116")
@pytest.mark.parametrize(
    ("redirection", "code"),
    [
        pytest.param(">&-", 0, id="stdout-closed"),
        pytest.param("2>&-", 0, id="stderr-closed"),
        pytest.param(">&- 2>&- <&-", 0, id="all-closed"),
        pytest.param("| true", 0, id="reader-gone"),
        pytest.param("2>/dev/full", 0, id="stderr-full"),
        pytest.param(">/dev/full", 1, id="stdout-full"),
    ],
)
async def test_streams_that_fail_leave_the_exit_code_true(bench: Bench, redirection: str, code: int) -> None:
    put(bench.source, "team/app", make_image("one"), "1.0")
    config = bench.config(bench.rule())
    shell = f"set -o pipefail; {sys.executable} -m mirrord sync --once -c {config} {redirection}"

    done = await anyio.run_process(
        ["bash", "-c", shell],
        check=False,
        cwd=bench.mirrord.work_dir,
        env={"PATH": os.environ["PATH"], "HOME": str(bench.mirrord.work_dir), "PYTHONPATH": os.getcwd()},  # noqa: PTH109
    )

    assert done.returncode == code
    assert b"Traceback" not in done.stderr
    assert served(bench.target, "mirror/team/app")


async def plan_of(bench: Bench, config: str, *arguments: str) -> Any:
    done = await bench.run("plan", "-c", config, "-o", "json", *arguments)
    return json.loads(done.stdout) | {"code": done.code}


async def test_a_run_does_what_the_plan_said(bench: Bench) -> None:
    shared = [b"a layer that both have" * 100]
    put(bench.source, "team/app", make_image("one", layers=shared), "1.0", "latest")
    put(bench.source, "team/web", make_image("two", layers=shared), "1.0")
    put(bench.source, "team/web", make_image("three"), "3.0")
    put(bench.target, "mirror/team/web", make_image("three"), "3.0")
    put(bench.target, "mirror/team/web", make_image("old"), "1.0")
    config = bench.config(bench.rule(), bench.rule("web", "team/web"))

    plan = await plan_of(bench, config)
    assert not writes(bench.target)
    done = await bench.run("sync", "--once", "-c", config, "-o", "json")

    report = json.loads(done.stdout)
    planned = {
        (change["target"], tag["target"]): (change["digest"], change["target_digest"])
        for change in plan["changes"]
        for tag in change["tags"]
    }
    copied = {
        (image["target"], tag["target"]): (image["digest"], image["target_digest"])
        for rule in report["rules"]
        for image in rule["images"]
        if image["outcome"] == "copied"
        for tag in image["tags"]
    }
    assert planned == copied
    assert len(planned) == 3
    totals = dict(plan["totals"])
    assert (totals["copy"], totals["replace"]) == (2, 1)
    assert totals.pop("listed") == sum(totals.values())
    estimate, blobs = plan["estimate"], report["blobs"]
    assert (estimate["upload"], estimate["mount"], estimate["existing"]) == (
        blobs["uploaded"],
        blobs["mounted"],
        blobs["existed"],
    )
    assert estimate["read_bytes"] == sum(report["traffic"]["bytes_read"].values())
    assert plan["totals"]["in_sync"] == report["totals"]["in_sync"] == 1


@pytest.mark.parametrize(
    ("arguments", "codes"),
    [pytest.param([], (0, 0), id="plain"), pytest.param(["--detailed-exitcode"], (2, 0), id="detailed")],
)
async def test_the_exit_code_of_plan_tells_of_changes_where_asked(
    bench: Bench, arguments: Sequence[str], codes: tuple[int, int]
) -> None:
    put(bench.source, "team/app", make_image("one"), "1.0")
    config = bench.config(bench.rule())

    before = await bench.run("plan", "-c", config, *arguments)
    await bench.run("sync", "--once", "-c", config)
    after = await bench.run("plan", "-c", config, *arguments)

    assert (before.code, after.code) == codes
    assert "no changes: 1 in sync" in after.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["-c", "/nonexistent.yaml"], id="configuration"),
        pytest.param(["--no-such-flag"], id="usage"),
        pytest.param([], id="nothing-named"),
    ],
)
def test_with_a_detailed_exit_code_every_error_is_1(mirrord: Mirrord, arguments: list[str]) -> None:
    assert mirrord.run("plan", "--detailed-exitcode", *arguments).code == 1


async def test_a_chain_of_rules_is_in_step_after_one_run(bench: Bench) -> None:
    """The rule that reads what another one writes waits for it; the plan before says what it cannot know."""
    image = make_image("one")
    put(bench.source, "team/app", image, "1.0")
    passing_on = {
        "name": "passing-on",
        "source": f"{bench.target.host}/mirror/team/*",
        "targets": [f"{bench.source.host}/back/{{name}}"],
    }
    end = {
        "name": "end",
        "source": f"{bench.source.host}/back/app:1.0",
        "targets": [f"{bench.target.host}/end/app:{{tag}}"],
    }
    config = bench.config(end, passing_on, bench.rule())

    plan = await plan_of(bench, config)
    done = await bench.run("sync", "--once", "-c", config, "-o", "json")
    again = await bench.run("sync", "--once", "-c", config, "-o", "json")

    assert plan["code"] == 0
    assert [change["rule"] for change in plan["changes"]] == ["app"]
    warnings = {rule["rule"]: rule["warnings"] for rule in plan["rules"]}
    assert warnings["app"] == []
    assert 'would be written before it by "app"' in warnings["passing-on"][0]
    assert done.code == again.code == 0
    assert served(bench.target, "end/app") == {"1.0": str(image.digest)}
    assert json.loads(done.stdout)["totals"]["copied"] == 3
    assert json.loads(again.stdout)["totals"]["copied"] == 0
    assert all(rule["warnings"] == [] for rule in json.loads(again.stdout)["rules"])


async def test_a_sparse_index_goes_into_a_layout_directory_and_out_again(bench: Bench) -> None:
    """The digest is that of the source; of the platforms that were left out nothing is there, and that is told."""
    index = make_index("app", platforms=("linux/amd64", "linux/arm64"))
    put(bench.source, "team/app", index, "1.0")
    sparse = {"platforms": ["linux/amd64"], "index": "sparse"}
    into = bench.config({**bench.rule(), "targets": ["oci:./out"], **sparse})
    wide = {**bench.rule("wide"), "source": "oci:./out:1.0"}

    first = await bench.run("sync", "--once", "-c", into, "-o", "json")
    again = await bench.run("plan", "-c", into, "-o", "json")
    whole = await bench.run("sync", "--once", "-c", bench.config(wide, name="whole.yaml"))
    narrow = bench.config({**wide, "platforms": ["linux/amd64"]}, name="narrow.yaml")
    one = await bench.run("sync", "--once", "-c", narrow)

    assert first.code == 0, first.stdout
    assert json.loads(again.stdout)["totals"]["in_sync"] == 1
    layout = json.loads((bench.mirrord.work_dir / "out" / "index.json").read_text())
    assert [entry["digest"] for entry in layout["manifests"]] == [str(index.digest)]
    assert whole.code == 1
    assert "NOT_FOUND" in whole.stdout
    assert one.code == 0, one.stdout


async def test_a_plan_says_what_each_image_needs_and_why(bench: Bench) -> None:
    put(bench.source, "team/app", make_image("one"), "1.0")
    put(bench.source, "team/app", make_image("two"), "2.0")
    put(bench.target, "mirror/team/app", make_image("two"), "2.0")

    done = await bench.run("plan", "-c", bench.config(bench.rule()), "--all", "--no-progress")

    assert "app  1 to copy, 1 in sync\n" in done.stdout
    assert f"  copy     {bench.source.host}/team/app:1.0  (not on the target)\n" in done.stdout
    assert f"  -> {bench.target.host}/mirror/team/app: upload 3 blobs" in done.stdout
    assert f"  in sync  {bench.source.host}/team/app:2.0 -> {bench.target.host}/mirror/team/app\n" in done.stdout
    assert done.stderr == ""


async def test_a_dry_run_shows_the_plan_and_changes_nothing(bench: Bench) -> None:
    put(bench.source, "team/app", make_image("one"), "1.0")
    config = bench.config(bench.rule(), bench.rule("gone", "team/gone"))

    done = await bench.run("sync", "--once", "--dry-run", "-c", config)
    lines = await bench.run("sync", "--once", "--dry-run", "-c", config, "-o", "ndjson")

    assert done.code == 1
    assert "app  1 to copy\n" in done.stdout
    assert [json.loads(line)["type"] for line in lines.stdout.splitlines()] == ["change", "summary"]
    assert not writes(bench.target)


async def test_a_plan_that_meets_a_silent_target_says_so(bench: Bench) -> None:
    put(bench.source, "team/app", make_image("one"), "1.0")
    dead = f"127.0.0.1:{free_port()}"
    rule = {"name": "app", "source": f"{bench.source.host}/team/app", "targets": [f"{dead}/mirror/app"]}
    config = bench.config(rule, registries={dead: {"plain_http": True}})

    done = await bench.run("plan", "-c", config)

    assert done.code == 1
    assert f"{bench.source.host}/team/app:1.0 -> {dead}/mirror/app\n    UNAVAILABLE: " in done.stdout


def test_version_tells_of_itself_and_what_it_is_built_on(mirrord: Mirrord) -> None:
    told = json.loads(mirrord.run("version", "-o", "json").stdout)

    assert list(told) == ["schema_version", "version", "python", "dependencies"]
    assert "not installed" not in told["dependencies"].values()
    assert mirrord.run("--version").stdout == f"mirrord {told['version']}\n"


def test_without_a_command_the_help_is_shown(mirrord: Mirrord) -> None:
    done = mirrord.run()

    assert done.code == 2
    assert done.stdout.index("Mirror:") < done.stdout.index("Look around:") < done.stdout.index("Set up:")
