"""The pipelines of the recipes, carried out for real: their commands, in their shell, on registries with passwords."""

from __future__ import annotations

import copy
import json
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.deploy.recipes.githubrunner import Runner
from tests.deploy.recipes.recipefiles import (
    EXAMPLES,
    GITHUB,
    GITLAB,
    gitlab_script,
    image_environment,
    jenkins_commands,
    load,
)
from tests.deploy.recipes.worlds import SOURCE_TOKEN, TARGET_TOKEN, VERSIONS, World, make_world, write_program
from tests.integration.conftest import StartRegistry

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

SECRETS = {"DOCKERHUB_TOKEN": SOURCE_TOKEN, "GITHUB_TOKEN": TARGET_TOKEN}


@pytest.fixture
def runner(world: World, tmp_path: Path) -> Runner:
    """A runner of GitHub with the rules of the recipe; what `pip` is asked for stands in the file pip.txt."""
    write_program(world.bin_dir / "pip", f'echo "$@" >> "{tmp_path}/pip.txt"\n')
    made = Runner(tmp_path, env=world.environment(), secrets=SECRETS)
    rules = world.rules_of(EXAMPLES / "github/mirrord.yaml", "ghcr.io")
    (made.workspace / "mirrord.yaml").write_text(rules, "utf-8")
    return made


def test_job_of_github_on_a_pull_request_shows_the_plan_and_changes_nothing(
    runner: Runner, world: World, tmp_path: Path
) -> None:
    ran = runner.run(load(GITHUB), "plan")

    assert set(ran.outcomes.values()) == {"success"}, ran.text
    assert "nginx  3 to copy" in runner.summary_file.read_text("utf-8")
    assert world.served("acme/mirror/nginx") == {}
    assert (tmp_path / "pip.txt").read_text() == "install mirrord @ git+https://github.com/mirrord/mirrord@v0.2.0\n"


def test_job_of_github_fails_where_the_plan_does_though_its_output_goes_through_a_pipe(runner: Runner) -> None:
    rules = runner.workspace / "mirrord.yaml"
    rules.write_text(rules.read_text("utf-8").replace("/library/nginx", "/library/missing"), "utf-8")
    workflow = copy.deepcopy(load(GITHUB))
    steps = workflow["jobs"]["plan"]["steps"]
    workflow["jobs"]["plan"]["steps"] = [step for step in steps if step.get("name") == "Show what would be done"]

    ran = runner.run(workflow, "plan")

    assert ran.outcomes == {"Show what would be done": "failure"}, ran.text
    assert "library/missing" in ran.text


def test_job_of_github_mirrors_and_keeps_its_reports(runner: Runner, world: World) -> None:
    ran = runner.run(load(GITHUB), "mirror")

    assert ran.ok, ran.text
    assert ran.outcomes["Say how many failed"] == "skipped"
    assert world.served("acme/mirror/nginx") == world.digests
    assert json.loads(ran.artifact["report.json"])["totals"]["copied"] == len(VERSIONS)
    assert ran.artifact["report.md"].decode() in runner.summary_file.read_text("utf-8")
    assert not secrets_in(ran.text)


def test_job_of_github_with_an_image_that_fails_is_red_and_keeps_its_reports(runner: Runner, world: World) -> None:
    world.break_image("1.27.1")

    ran = runner.run(load(GITHUB), "mirror")

    assert ran.outcomes["Mirror"] == "failure"
    assert "1 of 3 images failed" in ran.text
    assert "::error title=rule nginx" in ran.text
    assert sorted(world.served("acme/mirror/nginx")) == ["1.27.0", "1.28.0"]
    assert json.loads(ran.artifact["report.json"])["exit_code"] == 1
    assert "1 image failed" in runner.summary_file.read_text("utf-8")
    assert not secrets_in(ran.text)


def test_pipeline_of_gitlab_checks_plans_and_mirrors(start_registry: StartRegistry, tmp_path: Path) -> None:
    world = make_world(start_registry, tmp_path, username="gitlab-ci-token")
    place = checked_out(tmp_path, world.rules_of(EXAMPLES / "gitlab/mirrord.yaml", "registry.gitlab.com"))
    env = world.environment(
        **{**image_environment(), **load(GITLAB)["variables"]}, DOCKERHUB_TOKEN=SOURCE_TOKEN, CI_JOB_TOKEN=TARGET_TOKEN
    )

    said = {job: carry_out(gitlab_script(job), place, env) for job in ("check", "plan", "mirror")}

    assert {job: code for job, (code, _) in said.items()} == {"check": 0, "plan": 0, "mirror": 0}, said
    assert "nginx  3 to copy" in said["plan"][1]
    assert world.served("acme/mirror/nginx") == world.digests
    assert_artifacts_are_there(load(GITLAB)["mirror"]["artifacts"], place)
    assert not secrets_in(str(said))


def test_pipeline_of_gitlab_only_warns_where_a_policy_refused(start_registry: StartRegistry, tmp_path: Path) -> None:
    world = make_world(start_registry, tmp_path, username="gitlab-ci-token")
    rules = world.rules_of(EXAMPLES / "gitlab/mirrord.yaml", "registry.gitlab.com")
    place = checked_out(tmp_path, f'{rules}    immutable_tags: ["*"]\n')
    env = world.environment(
        **{**image_environment(), **load(GITLAB)["variables"]}, DOCKERHUB_TOKEN=SOURCE_TOKEN, CI_JOB_TOKEN=TARGET_TOKEN
    )
    carry_out(gitlab_script("mirror"), place, env)
    world.retag("1.28.0")

    code, said = carry_out(gitlab_script("mirror"), place, env)

    assert code in load(GITLAB)["mirror"]["allow_failure"]["exit_codes"], said
    assert world.served("acme/mirror/nginx") == world.digests
    assert_artifacts_are_there(load(GITLAB)["mirror"]["artifacts"], place)


def test_commands_of_jenkins_leave_the_files_that_it_keeps(start_registry: StartRegistry, tmp_path: Path) -> None:
    world = make_world(start_registry, tmp_path, username="mirror")
    place = checked_out(tmp_path, world.rules_of(EXAMPLES / "jenkins/mirrord.yaml", "registry.example.com"))
    text = (EXAMPLES / "jenkins/Jenkinsfile").read_text("utf-8")
    said_so = dict(re.findall(r"^    (MIRRORD_\w+) = '(.*)'$", text, re.MULTILINE))
    tokens = {"DOCKERHUB_TOKEN": SOURCE_TOKEN, "REGISTRY_PASSWORD": TARGET_TOKEN}
    env = world.environment(**{**image_environment(), **said_so, **tokens})

    code, said = carry_out(jenkins_commands(), place, env)

    assert code == 0, said
    assert world.served("mirror/nginx") == world.digests
    kept = re.findall(r"(?:junit|artifacts:) '([^']+)'", text)
    assert kept == ["mirror.xml", "mirror.md"]
    assert ET.parse(place / kept[0]).getroot().attrib["tests"] == "3"
    assert (place / kept[1]).read_text("utf-8").startswith("## ")


def checked_out(tmp_path: Path, rules: str) -> Path:
    """Return a folder with the rules."""
    place = tmp_path / "checkout"
    place.mkdir()
    (place / "mirrord.yaml").write_text(rules, "utf-8")
    return place


def carry_out(commands: Sequence[str], place: Path, env: Mapping[str, str]) -> tuple[int, str]:
    """Run commands as the shell of a job does: the first one that fails ends it."""
    script = "\n".join(["set -eo pipefail", *commands])
    done = subprocess.run(
        ["bash", "-c", script], env=env, cwd=place, capture_output=True, text=True, check=False, timeout=60
    )
    return done.returncode, done.stdout + done.stderr


def assert_artifacts_are_there(artifacts: Mapping[str, object], place: Path) -> None:
    """A job that keeps a file which its commands do not write ends with a warning that nobody reads."""
    assert artifacts["when"] == "always"
    assert artifacts["paths"] == ["mirror.md"]
    assert artifacts["reports"] == {"junit": "mirror.xml"}
    assert (place / "mirror.md").read_text("utf-8").startswith("## ")
    assert ET.parse(place / "mirror.xml").getroot().attrib["tests"] == "3"


def secrets_in(text: str) -> list[str]:
    return [secret for secret in (SOURCE_TOKEN, TARGET_TOKEN) if secret in text]
