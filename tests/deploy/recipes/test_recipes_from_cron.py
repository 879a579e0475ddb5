"""The script for cron, carried out: silent when all is well or another run goes on, and loud when not."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.deploy.recipes.recipefiles import EXAMPLES, WRAPPER
from tests.deploy.recipes.worlds import SOURCE_TOKEN, TARGET_TOKEN, World, write_program
from tests.integration.command import Mirrord

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

Cron = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def cron(world: World, tmp_path: Path) -> Cron:
    """Runs the script as cron does: with next to nothing in the environment, and its output on its way into a mail."""
    rules = world.rules_of(EXAMPLES / "jenkins/mirrord.yaml", "registry.example.com")
    rules = rules.replace("username: mirror\n", "username: acme-bot\n")
    (tmp_path / "mirrord.yaml").write_text(rules, "utf-8")
    (tmp_path / "cron.env").write_text(f'REGISTRY_PASSWORD="{TARGET_TOKEN}"\nDOCKERHUB_TOKEN={SOURCE_TOKEN}\n', "utf-8")
    settings = {
        "MIRRORD_CONFIG": str(tmp_path / "mirrord.yaml"),
        "MIRRORD_STATE": f"sqlite://{tmp_path}/state.db",
        "MIRRORD_ENV_FILE": str(tmp_path / "cron.env"),
        "MIRRORD_TEXTFILE": str(tmp_path / "mirrord.prom"),
        "TMPDIR": str(tmp_path / "temporary"),
    }
    (tmp_path / "temporary").mkdir()

    def run(**more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["/bin/sh", str(WRAPPER)],
            env=world.environment(**(settings | more)),
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=60,
        )

    return run


def test_script_for_cron_says_nothing_when_all_is_well(cron: Cron, world: World, tmp_path: Path) -> None:
    done = cron()

    assert (done.returncode, done.stdout) == (0, "")
    assert world.served("mirror/nginx") == world.digests
    assert 'mirrord_runs_total{result="ok",rule="nginx"} 1.0' in (tmp_path / "mirrord.prom").read_text("utf-8")
    assert (tmp_path / "mirrord.prom").stat().st_mode & 0o777 == 0o644
    assert list((tmp_path / "temporary").iterdir()) == []


def test_script_for_cron_tells_all_of_a_run_that_failed(cron: Cron, world: World, tmp_path: Path) -> None:
    world.break_image("1.27.1")

    done = cron()

    assert done.returncode == 1
    assert "nginx" in done.stdout
    assert "1.27.1" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("mirrord ended with 1 on ")
    assert SOURCE_TOKEN not in done.stdout
    assert sorted(world.served("mirror/nginx")) == ["1.27.0", "1.28.0"]
    assert 'mirrord_runs_total{result="failed",rule="nginx"} 1.0' in (tmp_path / "mirrord.prom").read_text("utf-8")
    assert list((tmp_path / "temporary").iterdir()) == []


def test_script_for_cron_tells_of_a_file_that_is_not_valid(cron: Cron, tmp_path: Path) -> None:
    (tmp_path / "mirrord.yaml").write_text("version: 1\nruls: []\n", "utf-8")

    done = cron()

    assert done.returncode == 2
    assert "ruls" in done.stdout


def test_script_for_cron_is_silent_where_another_run_goes_on_and_leaves_its_metrics_alone(
    cron: Cron, mirrord: Mirrord, tmp_path: Path
) -> None:
    """The service stands for the other run: it has the same lock, and has it until it is ended."""
    other = tmp_path / "other.yaml"
    other.write_text("version: 1\nrules: []\n", "utf-8")
    service = mirrord.start(
        "sync",
        "-c",
        str(other),
        env={"MIRRORD_STATE": f"sqlite://{tmp_path}/state.db", "MIRRORD_LISTEN": "127.0.0.1:0"},
    )
    lock = tmp_path / "state.db.lock"
    service.wait_until(lambda: lock.exists() and lock.read_text() != "", what="having the lock", timeout_s=30)
    before = "# of the run that goes on\n"
    (tmp_path / "mirrord.prom").write_text(before, "utf-8")

    done = cron()

    assert (done.returncode, done.stdout) == (0, "")
    assert (tmp_path / "mirrord.prom").read_text("utf-8") == before


def test_script_for_cron_ends_a_run_that_takes_too_long(cron: Cron, world: World) -> None:
    write_program(world.bin_dir / "mirrord", "echo it began; exec sleep 60\n")

    done = cron(MIRRORD_LONGEST="0.2s")

    assert done.returncode == 124
    assert done.stdout.splitlines()[:2] == ["it began", "ended after 0.2s, MIRRORD_LONGEST of mirrord-cron"]


@pytest.mark.parametrize(("quiet", "told"), [("0", True), ("0 4", False)])
def test_script_for_cron_tells_of_what_a_policy_refused_unless_told_not_to(
    cron: Cron, world: World, quiet: str, told: bool
) -> None:
    write_program(world.bin_dir / "mirrord", "echo refused; exit 4\n")

    done = cron(MIRRORD_QUIET=quiet)

    assert done.returncode == 4
    assert ("refused" in done.stdout) is told
