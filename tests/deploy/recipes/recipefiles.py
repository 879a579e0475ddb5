"""The files under `examples/`, and what stands in them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[3]
EXAMPLES = ROOT / "examples"
GITHUB = EXAMPLES / "github/mirror.yml"
GITHUB_IMAGE = EXAMPLES / "github/mirror-with-image.yml"
GITLAB = EXAMPLES / "gitlab/.gitlab-ci.yml"
JENKINS = EXAMPLES / "jenkins/Jenkinsfile"
COMPOSE = EXAMPLES / "compose/compose.yaml"
CRONTAB = EXAMPLES / "cron/mirrord.cron"
WRAPPER = EXAMPLES / "cron/mirrord-cron"
UNITS = sorted([*(EXAMPLES / "systemd").glob("*.service"), *(EXAMPLES / "systemd").glob("*.timer")])
SCRIPTS = (WRAPPER, EXAMPLES / "compose/prepare.sh")
RULES = sorted(file for file in EXAMPLES.rglob("mirrord.yaml") if "grafana" not in file.parts)
JENKINS_COMMAND = re.compile(r"(?:\bsh |script: )'([^']+)'")


def relative(file: Path) -> str:
    """Return a file as it stands in the test's name."""
    return str(file.relative_to(EXAMPLES))


@cache
def load(file: Path) -> Any:
    """Return what a file of YAML says, merged keys and all."""
    return yaml.safe_load(file.read_text("utf-8"))


def all_files() -> list[Path]:
    """Return every file of the examples that users copy; secrets that somebody made there are none."""
    return sorted(
        f for f in EXAMPLES.rglob("*") if f.is_file() and f.parent.name != "secrets" and f.name != ".gitignore"
    )


def image_environment() -> dict[str, str]:
    """Return the variables that the image sets, but for the path: jobs that run in it have them too."""
    (block,) = re.findall(
        r"^ENV ((?:.*\\\n)*.*MIRRORD_STATE(?:.*\\\n)*.*)$", (ROOT / "Dockerfile").read_text("utf-8"), re.MULTILINE
    )
    pairs = (word.partition("=") for word in shlex.split(block.replace("\\\n", " ")))
    return {name: value for name, _, value in pairs if name.startswith(("MIRRORD_", "DOCKER_"))}


class Unit:
    """A unit of systemd: its settings in the order in which they stand, a name as often as it is given."""

    def __init__(self, file: Path) -> None:
        text = file.read_text("utf-8").replace("\\\n", " ")
        lines = (line.strip() for line in text.splitlines())
        self._settings = [line.partition("=") for line in lines if line and line[0] not in "#;["]

    def all(self, name: str) -> list[str]:
        """Return every value of a setting."""
        return [value for key, _, value in self._settings if key == name]

    def one(self, name: str) -> str:
        """Return the value of a setting that is given once."""
        (value,) = self.all(name)
        return value


def jenkins_commands() -> list[str]:
    """Return the commands that the Jenkinsfile has a shell carry out."""
    return JENKINS_COMMAND.findall(JENKINS.read_text("utf-8"))


def gitlab_script(job: str) -> list[str]:
    """Return the commands of a job of the GitLab pipeline."""
    return [str(line) for line in load(GITLAB)[job]["script"]]


CALL = re.compile(
    r"""(?:^|[\s'"/])mirrord ((?:sync|plan|config|auth|status|healthcheck|version)\b[^'"\n|#;&>]*)""", re.MULTILINE
)


def called_commands(file: Path) -> Iterator[list[str]]:
    """Yield the words after `mirrord` of every call in a file, whatever language it is in."""
    text = file.read_text("utf-8").replace("\\\n", " ")
    for match in CALL.finditer(text):
        yield shlex.split(match[1])
