"""Carries out the steps of a job of GitHub Actions as its runner does, as far as the recipes need it."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

STEP_S = 50.0
SHELLS = {None: ["bash", "-e"], "bash": ["bash", "--noprofile", "--norc", "-eo", "pipefail"]}
"""What GitHub runs a script with, by the word after `shell`; without one, no pipe fails for its first command."""


@dataclass
class Ran:
    """What a job left behind."""

    outcomes: dict[str, str] = field(default_factory=dict)
    text: str = ""
    artifact: dict[str, bytes] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        return "failure" not in self.outcomes.values()


class Runner:
    """A runner with a workspace in which the repository is checked out.

    Args:
        work_dir: Holds the workspace and the files of the runner.
        env: What the machine's environment has.
        secrets: Values by name, `github.token` among them as GITHUB_TOKEN.
    """

    def __init__(self, work_dir: Path, *, env: Mapping[str, str], secrets: Mapping[str, str]) -> None:
        self.workspace = work_dir / "workspace"
        self.workspace.mkdir()
        self.summary_file = work_dir / "summary"
        self._output_file = work_dir / "outputs"
        self._secrets = secrets
        self._steps: dict[str, Any] = {}
        self._env = {
            **env,
            "GITHUB_ACTIONS": "true",
            "GITHUB_WORKSPACE": str(self.workspace),
            "GITHUB_STEP_SUMMARY": str(self.summary_file),
            "GITHUB_OUTPUT": str(self._output_file),
        }

    def run(self, workflow: Mapping[str, Any], job: str) -> Ran:
        """Carry out a job's steps in order; after one that failed, those alone that want it."""
        ran = Ran()
        self._steps = {}
        self.summary_file.write_text("", "utf-8")
        shell = workflow.get("defaults", {}).get("run", {}).get("shell")
        env = {**workflow.get("env", {}), **workflow["jobs"][job].get("env", {})}
        for step in workflow["jobs"][job]["steps"]:
            self._take(step, ran, {**env, **step.get("env", {})}, step.get("shell", shell))
        return ran

    def _take(self, step: Mapping[str, Any], ran: Ran, env: Mapping[str, str], shell: str | None) -> None:
        name = step.get("name", step.get("uses", ""))
        outputs: dict[str, int | str] = {}
        if not self._wanted(step.get("if"), ran):
            outcome = "skipped"
        elif "uses" in step:
            outcome = self._use(step, ran)
        else:
            outcome, outputs = self._shell(str(step["run"]), ran, env, shell)
        ran.outcomes[name] = outcome
        if "id" in step:
            self._steps[step["id"]] = SimpleNamespace(outcome=outcome, outputs=SimpleNamespace(**outputs))

    def _wanted(self, condition: str | None, ran: Ran) -> bool:
        if condition is None:
            return ran.ok
        written = condition.replace("&&", " and ").replace("||", " or ").replace("always()", "True")
        names = {"steps": SimpleNamespace(**self._steps), "__builtins__": {}}
        return bool(eval(written, names)) and (ran.ok or "always()" in condition)

    def _use(self, step: Mapping[str, Any], ran: Ran) -> str:
        if not step["uses"].startswith("actions/upload-artifact@"):
            return "success"
        for name in step["with"]["path"].split():
            ran.artifact[name] = (self.workspace / name).read_bytes()
        return "success"

    def _shell(
        self, script: str, ran: Ran, env: Mapping[str, str], shell: str | None
    ) -> tuple[str, dict[str, int | str]]:
        self._output_file.write_text("", "utf-8")
        file = self.workspace.parent / "step.sh"
        file.write_text(self._filled(script), "utf-8")
        done = subprocess.run(
            [*SHELLS[shell], str(file)],
            env={**self._env, **{key: self._filled(str(value)) for key, value in env.items()}},
            cwd=self.workspace,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            timeout=STEP_S,
        )
        ran.text += done.stdout.decode()
        return "success" if done.returncode == 0 else "failure", self._outputs()

    def _outputs(self) -> dict[str, int | str]:
        text = self._output_file.read_text("utf-8")
        found = re.findall(r"^(\w+)<<(\S+)\n(.*?)\n\2$", text, re.MULTILINE | re.DOTALL)
        return {name: int(value) if value.isdigit() else value for name, _, value in found}

    def _filled(self, text: str) -> str:
        """Put values in the place of expressions."""

        def value(match: re.Match[str]) -> str:
            words = match[1].split(".")
            if words[0] == "secrets" or match[1] == "github.token":
                return self._secrets["GITHUB_TOKEN" if words[0] == "github" else words[1]]
            assert words[0] == "steps", f"no value for {match[0]}"
            return str(getattr(self._steps[words[1]].outputs, words[3]))

        return re.sub(r"\$\{\{ ([\w.-]+) \}\}", value, text)
