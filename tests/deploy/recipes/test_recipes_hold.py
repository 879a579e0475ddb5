"""The recipes hold what they say: schemas, commands that exist, rules that are valid, nothing that is not pinned."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from mirrord import __version__
from mirrord.config.loader import load_config
from tests.deploy.recipes.recipefiles import (
    COMPOSE,
    CRONTAB,
    EXAMPLES,
    GITHUB,
    GITHUB_IMAGE,
    GITLAB,
    JENKINS,
    ROOT,
    RULES,
    SCRIPTS,
    all_files,
    called_commands,
    jenkins_commands,
    load,
    relative,
)
from tests.integration.conftest import RequireTool
from tests.meta.test_docs import FENCE, LINK, anchors, fault_of

PAGES = ("run-in-ci", "run-with-compose", "run-from-cron", "run-as-a-service")
CRON_FIELD = re.compile(r"(?:\*|\d+(?:-\d+)?)(?:/\d+)?(?:,\d+(?:-\d+)?)*")
CRON_LIMITS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))


@pytest.mark.parametrize(
    ("schema", "file"),
    [
        ("github-workflows", GITHUB),
        ("github-workflows", GITHUB_IMAGE),
        ("gitlab-ci", GITLAB),
        ("compose-spec", COMPOSE),
    ],
    ids=lambda value: value if isinstance(value, str) else relative(value),
)
def test_file_is_what_the_schema_of_its_kind_says(schema: str, file: Path) -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("file", all_files(), ids=relative)
def test_file_says_at_its_top_what_to_change(file: Path) -> None:
    """A README is text; a file that others include has nothing to change, and says so."""
    top = "\n".join(file.read_text("utf-8").splitlines()[:14])

    assert file.suffix == ".md" or re.search(r"(?im)^(?:#|//) .*\bchange\b", top), top


@pytest.mark.parametrize("file", all_files(), ids=relative)
def test_commands_that_a_file_calls_exist(file: Path) -> None:
    faults = {" ".join(words): fault for words in called_commands(file) if (fault := fault_of(words))}

    assert faults == {}


@pytest.mark.parametrize("file", [GITHUB, GITHUB_IMAGE, GITLAB, JENKINS], ids=relative)
def test_pipeline_checks_the_rules_before_it_mirrors(file: Path) -> None:
    commands = [" ".join(words[:2]) for words in called_commands(file)]

    assert "config validate" in commands
    assert commands.index("config validate") < commands.index("sync --once")


@pytest.mark.parametrize("file", RULES, ids=relative)
def test_rules_of_a_recipe_are_valid(file: Path) -> None:
    names = re.findall(r"\{env: (\w+)\}", file.read_text("utf-8"))

    config = load_config(str(file), dict.fromkeys(names, "secret"))

    assert config.rules
    assert [problem.code for problem in config.warnings] == []


@pytest.mark.parametrize("file", [GITHUB, GITHUB_IMAGE], ids=relative)
def test_workflow_of_github_pins_its_actions_and_grants_nothing_that_no_job_needs(file: Path) -> None:
    text, workflow = file.read_text("utf-8"), load(file)
    uses = re.findall(r"uses: (.*)", text)

    assert [line for line in uses if not re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line)] == []
    assert workflow["permissions"] == {}
    assert {
        name: job["permissions"] for name, job in workflow["jobs"].items() if "write" in str(job["permissions"])
    } == {"mirror": {"contents": "read", "packages": "write"}}
    assert workflow["jobs"]["mirror"]["concurrency"] == {"group": "mirror", "cancel-in-progress": False}
    assert all(job["timeout-minutes"] for job in workflow["jobs"].values())


def test_workflow_of_github_puts_no_expression_into_a_script() -> None:
    """What stands there is pasted before the shell sees it: values come by the environment."""
    for file in (GITHUB, GITHUB_IMAGE):
        for job in load(file)["jobs"].values():
            assert [step["run"] for step in job["steps"] if "${{" in step.get("run", "")] == []


def test_workflow_with_the_image_does_what_the_other_one_does() -> None:
    """The other one is carried out by tests; this one differs in how mirrord gets there, and in nothing else."""

    def scripts(file: Path) -> list[str]:
        steps = load(file)["jobs"]["mirror"]["steps"]
        return [step["run"] for step in steps if step.get("name") in {"Check the rules", "Mirror"}]

    assert scripts(GITHUB_IMAGE) == scripts(GITHUB)
    assert load(GITHUB_IMAGE)["jobs"]["mirror"]["env"]["MIRRORD_STATE"] == "", "the image's own is not that user's"


def test_image_and_version_are_those_of_this_release() -> None:
    named = {
        relative(file): re.findall(r"ghcr\.io/mirrord/mirrord:([\w.]+)|MIRRORD_VERSION: v([\w.]+)", text)
        for file in all_files()
        if "ghcr.io/mirrord/mirrord:" in (text := file.read_text("utf-8")) or "MIRRORD_VERSION: " in text
    }

    assert set(named) >= {relative(file) for file in (GITHUB, GITHUB_IMAGE, GITLAB, JENKINS, COMPOSE)}
    assert {"".join(found) for every in named.values() for found in every} == {__version__}


def test_rules_of_a_fork_get_no_secrets() -> None:
    """Rules name the host that a secret goes to: those of a stranger would send it to a host of the stranger's."""
    text = JENKINS.read_text("utf-8")
    stages = dict(re.findall(r"(?ms)^    stage\('(\w+)'\) \{\n(.*?)^    \}$", text))
    plan = load(GITLAB)["plan"]["rules"]
    fork = "github.event.pull_request.head.repo.full_name == github.repository"

    assert "credentials(" not in text.partition("stages {")[0]
    assert [name for name, stage in stages.items() if "credentials(" in stage] == ["plan", "mirror"]
    assert "!env.CHANGE_FORK" in stages["plan"]
    assert "branch 'main'" in stages["mirror"]
    assert all("$CI_MERGE_REQUEST_SOURCE_PROJECT_ID == $CI_MERGE_REQUEST_PROJECT_ID" in rule["if"] for rule in plan)
    assert fork in load(GITHUB)["jobs"]["plan"]["if"]
    assert "pull_request_target" not in GITHUB.read_text("utf-8")


def test_plan_of_github_is_left_out_where_dependabot_would_fail_for_want_of_secrets() -> None:
    """The recipe asks for Dependabot, whose changes of the workflow's actions start the workflow."""
    assert "github.event.pull_request.user.login != 'dependabot[bot]'" in load(GITHUB)["jobs"]["plan"]["if"]


def test_jobs_of_gitlab_have_an_environment_each_by_which_variables_are_told_apart() -> None:
    environments = {name: load(GITLAB)[name]["environment"] for name in ("plan", "mirror")}

    assert {name: made["name"] for name, made in environments.items()} == {"plan": "mirror-plan", "mirror": "mirror"}
    assert {made["action"] for made in environments.values()} == {"access"}, "nothing is deployed"


def test_jenkinsfile_is_balanced_and_its_stages_are_known() -> None:
    text = re.sub(r"(?m)^\s*//.*$", "", JENKINS.read_text("utf-8"))
    stack: list[str] = []
    for character in re.sub(r"'[^'\n]*'|\"[^\"\n]*\"", "''", text):
        if character in "{(":
            stack.append(character)
        elif character in "})":
            assert stack, "closed what was not open"
            assert stack.pop() + character in {"{}", "()"}

    assert stack == []
    assert re.findall(r"stage\('(\w+)'\)", text) == ["check", "plan", "mirror"]
    assert [shlex.split(command)[0] for command in jenkins_commands()] == ["mirrord"] * 4


def test_crontab_has_one_job_of_the_user_mirrord() -> None:
    lines = [line for line in CRONTAB.read_text("utf-8").splitlines() if line and not line.startswith("#")]
    settings = dict(line.split("=", 1) for line in lines if re.match(r"\w+=", line))
    (job,) = [line for line in lines if not re.match(r"\w+=", line)]
    *fields, user, command = job.split()

    assert settings["MAILTO"] == "platform-team@example.com"
    assert (user, command) == ("mirrord", "mirrord-cron")
    assert "/usr/local/bin" in settings["PATH"].split(":"), "where the wrapper goes"
    assert len(fields) == len(CRON_LIMITS)
    for field, (low, high) in zip(fields, CRON_LIMITS, strict=True):
        assert CRON_FIELD.fullmatch(field), field
        assert all(low <= int(number) <= high for number in re.findall(r"\d+", field.partition("/")[0]))
    assert CRONTAB.read_bytes().endswith(b"\n"), "cron passes over a last line without an end"
    assert "%" not in job, "cron would take it for the end of a line"


@pytest.mark.integration
@pytest.mark.parametrize("shell", ["bash", "dash"])
@pytest.mark.parametrize("script", SCRIPTS, ids=relative)
def test_script_is_read_by_each_shell_and_can_be_run(script: Path, shell: str, require_tool: RequireTool) -> None:
    require_tool(shell)

    done = subprocess.run([shell, "-n", str(script)], capture_output=True, text=True, check=False, timeout=30)

    assert (done.returncode, done.stderr) == (0, "")
    assert script.stat().st_mode & 0o111
    assert script.read_text("utf-8").startswith("#!/bin/sh\n")


def test_links_of_the_recipes_lead_to_pages_of_this_repository() -> None:
    base = "https://github.com/mirrord/mirrord/blob/main/"
    broken = []
    for file in all_files():
        text = file.read_text("utf-8")
        broken += [link for link in re.findall(rf"{base}([\w./-]+)", text) if not (ROOT / link.rstrip(".")).exists()]
        if file.suffix == ".md":
            links = [link for link in LINK.findall(FENCE.sub("", text)) if not re.match(r"[a-z]+:", link)]
            broken += [link for link in links if not (file.parent / link.partition("#")[0]).resolve().exists()]

    assert broken == []


@pytest.mark.parametrize("name", PAGES)
def test_page_and_files_say_the_same(name: str) -> None:
    """What a page shows of a file stands there, line for line: a block after the file's name, `...` for gaps."""
    page = ROOT / f"docs/how-to/{name}.md"
    text = page.read_text("utf-8")
    blocks = re.findall(r"^From \[`?([^\]`]+)`?\]\((\S+)\):\n\n```\w+\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    named = {(page.parent / link).resolve() for link in LINK.findall(text) if "/examples/" in link}

    assert named, "the page leads to the files that it is about"
    assert all(file.exists() for file in named)
    for label, link, block in blocks:
        content = (page.parent / link).resolve().read_text("utf-8")
        for part in re.split(r"^\s*\.\.\.\n", block, flags=re.MULTILINE):
            assert part in content, f"{label} has no\n{part}"


def test_every_file_of_the_recipes_is_reached_from_a_page() -> None:
    linked = set()
    for name in PAGES:
        page = ROOT / f"docs/how-to/{name}.md"
        links = {link.partition("#")[0] for link in LINK.findall(page.read_text("utf-8"))}
        linked |= {(page.parent / link).resolve() for link in links if "examples/" in link}

    lost = [relative(f) for f in all_files() if f not in linked and not any(p in linked for p in f.parents)]
    assert lost == []


def test_headings_that_the_recipes_point_to_exist() -> None:
    assert "systemd" in anchors(ROOT / "docs/how-to/run-as-a-service.md")


def test_secrets_that_prepare_makes_do_not_get_into_a_repository() -> None:
    assert (EXAMPLES / "compose/.gitignore").read_text("utf-8").splitlines() == ["secrets/"]


def test_no_file_of_yaml_has_a_key_twice() -> None:
    """PyYAML takes the last of two equal keys without a word; other programs refuse the file."""
    for file in all_files():
        if file.suffix in {".yml", ".yaml"}:
            assert list(keys_given_twice(yaml.compose(file.read_text("utf-8"), yaml.SafeLoader))) == [], file


def keys_given_twice(node: yaml.Node | None) -> Iterator[str]:
    """Yield the keys that stand twice in a mapping of a document."""
    if isinstance(node, yaml.MappingNode):
        keys = [key.value for key, _ in node.value]
        yield from (key for key in set(keys) if keys.count(key) > 1)
    if isinstance(node, yaml.MappingNode | yaml.SequenceNode):
        for part in node.value:
            yield from keys_given_twice(part[1] if isinstance(part, tuple) else part)
