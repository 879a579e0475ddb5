"""The tools under comparison: how each is told to do one workload, with nothing but its documented options."""

from __future__ import annotations

import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import yaml

from bench.seeds import Scenario

ROOT = Path(__file__).resolve().parents[1]
# Every tool copies the repository `name` of the source to `mirror/name` of the target.
PREFIX = "mirror"


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What one run of a tool is asked to do.

    Attributes:
        scenario: The workload.
        source: host:port of the source registry.
        target: host:port of the target registry.
        work_dir: An empty directory, kept for a second pass.
    """

    scenario: Scenario
    source: str
    target: str
    work_dir: Path

    def pairs(self) -> list[tuple[str, str]]:
        """Return the source and target reference of each repository."""
        return [(f"{self.source}/{name}", f"{self.target}/{PREFIX}/{name}") for name in self.scenario.repositories]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rival:
    """A tool: what it is called, what it takes to run, and its command for a task.

    Attributes:
        name: What the command line and the results call it.
        version: Command that prints its version.
        command: Returns program and arguments for a task; None when the tool has no way to do it at once.
    """

    name: str
    version: tuple[str, ...]
    command: Callable[[Task], list[str] | None]

    def find_version(self) -> str | None:
        """Return the version, or None where the tool is not installed."""
        if shutil.which(self.version[0]) is None:
            return None
        if self.name == "mirrord" and importlib.util.find_spec("mirrord.__main__") is None:
            return None
        done = subprocess.run(self.version, capture_output=True, text=True, check=False, cwd=ROOT, timeout=30)
        return " ".join(done.stdout.strip().split("\n")[0].split()) if done.returncode == 0 else None

    def environment(self, work_dir: Path, *, remembers: bool) -> dict[str, str]:
        """Return the whole environment of a run: no credential and no setting of the user.

        A state store is mirrord's only where a second pass can use what the first one learnt: a single run has none
        unless it is asked for.
        """
        state = {"MIRRORD_STATE": f"sqlite:///{work_dir}/state.db"} if remembers else {}
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(work_dir),
            "TMPDIR": str(work_dir),
            "XDG_RUNTIME_DIR": str(work_dir),
            "LC_ALL": "C.UTF-8",
            "PYTHONPATH": str(ROOT),
        } | state


def rivals() -> list[Rival]:
    """Return all tools that the benchmark knows, mirrord first."""
    return [
        Rival(name="mirrord", version=(sys.executable, "-m", "mirrord", "version"), command=_mirrord),
        Rival(name="skopeo", version=("skopeo", "--version"), command=_skopeo),
        Rival(name="crane", version=("crane", "version"), command=_crane),
        Rival(name="regctl", version=("regctl", "version", "--format", "{{.VCSTag}}"), command=_regctl),
        Rival(name="regsync", version=("regsync", "version", "--format", "{{.VCSTag}}"), command=_regsync),
    ]


def _mirrord(task: Task) -> list[str]:
    config = {
        "version": 1,
        "registries": {host: {"plain_http": True} for host in (task.source, task.target)},
        "rules": [
            {"name": source.rpartition("/")[2], "source": source, "targets": [target]}
            for source, target in task.pairs()
        ],
    }
    return [sys.executable, "-m", "mirrord", "sync", "--once", "-c", _write(task, config)]


def _skopeo(task: Task) -> list[str]:
    plain = ["--src-tls-verify=false", "--dest-tls-verify=false"]
    if task.scenario.name == "large":
        ((source, target),) = task.pairs()
        tag = task.scenario.tags[0]
        images = [f"docker://{source}:{tag}", f"docker://{target}:{tag}"]
        return ["skopeo", "--insecure-policy", "copy", "--all", *plain, *images]
    # An empty list of tags is every tag of the repository.
    config = {task.source: {"tls-verify": False, "images": {name: [] for name in task.scenario.repositories}}}
    sync = ["sync", "--all", "--src", "yaml", "--dest", "docker", *plain]
    return ["skopeo", "--insecure-policy", *sync, _write(task, config), f"{task.target}/{PREFIX}"]


def _crane(task: Task) -> list[str]:
    copies = [["crane", "copy", "--insecure", "--all-tags", source, target] for source, target in task.pairs()]
    return _one_after_another(copies)


def _regctl(task: Task) -> list[str] | None:
    if len(task.scenario.tags) > 1:
        return None
    hosts = [option for host in (task.source, task.target) for option in ("--host", f"reg={host},tls=disabled")]
    tag = task.scenario.tags[0]
    copies = [
        ["regctl", *hosts, "image", "copy", f"{source}:{tag}", f"{target}:{tag}"] for source, target in task.pairs()
    ]
    return _one_after_another(copies)


def _regsync(task: Task) -> list[str]:
    config = {
        "version": 1,
        "creds": [{"registry": host, "tls": "disabled"} for host in (task.source, task.target)],
        "defaults": {"parallel": 4},
        "sync": [{"source": source, "target": target, "type": "repository"} for source, target in task.pairs()],
    }
    return ["regsync", "once", "-c", _write(task, config)]


def _write(task: Task, config: object) -> str:
    file = task.work_dir / "config.yaml"
    file.write_text(yaml.safe_dump(config, sort_keys=False))
    return str(file)


def _one_after_another(commands: list[list[str]]) -> list[str]:
    return ["sh", "-ec", "\n".join(shlex.join(command) for command in commands)]
