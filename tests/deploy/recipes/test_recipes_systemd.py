"""The units: read and rated by systemd's own tools, and mirrord carried out under the filters that they name."""

from __future__ import annotations

import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import sysconfig
import tempfile
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.deploy.recipes.recipefiles import EXAMPLES, ROOT, UNITS, Unit, relative
from tests.deploy.recipes.worlds import SOURCE_TOKEN, TARGET_TOKEN, World
from tests.integration.conftest import RequireTool
from tests.integration.processes import Process, free_port

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

SYSTEMD = EXAMPLES / "systemd"
SERVICES = [unit for unit in UNITS if unit.suffix == ".service"]
EXPOSURE = 20
"""What systemd's rating of a unit may come to at the most, in tenths: 100 is everything open."""
NOBODY = 65534
SANDBOX = Path(__file__).with_name("sandbox.py")


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", "--no-pager", *arguments], capture_output=True, text=True, check=False, timeout=30
    )


@pytest.fixture
def installed(tmp_path: Path, require_tool: RequireTool) -> Path:
    """The units in a folder, with a program that is there in the place of /opt/mirrord/bin/mirrord."""
    require_tool("systemd-analyze")
    for unit in UNITS:
        text = unit.read_text("utf-8").replace("/opt/mirrord/bin/mirrord", shutil.which("true") or "/bin/true")
        (tmp_path / unit.name).write_text(text, "utf-8")
    return tmp_path


def test_units_are_read_by_systemd_without_a_word(installed: Path) -> None:
    done = analyze("verify", "--man=no", *(str(installed / unit.name) for unit in UNITS))

    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.parametrize("unit", SERVICES, ids=relative)
def test_unit_is_confined_by_the_rating_of_systemd(installed: Path, unit: Path) -> None:
    done = analyze("security", "--offline=true", f"--threshold={EXPOSURE}", str(installed / unit.name))

    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overall exposure level" in done.stdout


def test_both_services_are_confined_alike() -> None:
    """The reasons stand in one of them."""
    names = (
        r"(?:Protect|Private|Restrict|System[Cc]all|StateDirectory|Lock|Memory|NoNew|Capability|Ambient|UMask|Remove)"
    )

    def confinement(unit: Path) -> list[str]:
        return sorted(line for line in unit.read_text("utf-8").splitlines() if re.match(names, line))

    first, second = (confinement(unit) for unit in SERVICES)
    assert len(first) > 20
    assert first == second


def test_timer_names_a_moment_that_systemd_knows_and_a_service_that_is_there(require_tool: RequireTool) -> None:
    require_tool("systemd-analyze")
    timer = Unit(SYSTEMD / "mirrord-once.timer")

    done = analyze("calendar", "--iterations=2", timer.one("OnCalendar"))

    assert done.returncode == 0, done.stderr
    assert "Next elapse" in done.stdout
    assert (SYSTEMD / "mirrord-once.service").exists()
    assert timer.one("WantedBy") == "timers.target"


def test_service_that_is_started_by_the_timer_is_not_started_at_boot_too() -> None:
    assert "[Install]" not in (SYSTEMD / "mirrord-once.service").read_text("utf-8")


def test_time_to_stop_is_longer_than_what_mirrord_takes_to_drain() -> None:
    for unit in SERVICES:
        assert int(Unit(unit).one("TimeoutStopSec")) >= 25 + 10
        assert Unit(unit).one("SuccessExitStatus") == "143"


def test_user_and_folder_are_made_by_systemds_own_tools(tmp_path: Path, require_tool: RequireTool) -> None:
    require_tool("systemd-sysusers", "systemd-tmpfiles")
    if os.geteuid() != 0:
        pytest.skip("only root may make users and give files away, also below a root of its own")
    for name in ("mirrord.yaml", "token", "mirrord.env"):
        (tmp_path / "etc/mirrord").mkdir(parents=True, exist_ok=True)
        (tmp_path / "etc/mirrord" / name).write_text("x", "utf-8")

    commands = (("systemd-sysusers", "sysusers.conf"), ("systemd-tmpfiles", "--create", "tmpfiles.conf"))
    for *command, name in commands:
        done = subprocess.run(
            [*command, str(SYSTEMD / name), f"--root={tmp_path}"],
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
        assert done.returncode == 0, done.stderr

    (user,) = [line.split(":") for line in (tmp_path / "etc/passwd").read_text().splitlines() if "mirrord" in line]
    assert user[0] == "mirrord"
    assert user[6] == "/usr/sbin/nologin"
    rights = {}
    for path in (tmp_path / "etc/mirrord", *(tmp_path / "etc/mirrord").iterdir()):
        found = path.stat()
        rights[path.name] = (oct(stat.S_IMODE(found.st_mode)), found.st_uid, found.st_gid)
    group = int(user[3])
    assert rights == {
        "mirrord": ("0o750", 0, group),
        "mirrord.yaml": ("0o640", 0, group),
        "token": ("0o640", 0, group),
        "mirrord.env": ("0o600", 0, 0),
    }


def test_file_of_settings_is_all_comments_until_somebody_changes_it() -> None:
    lines = (SYSTEMD / "mirrord.env").read_text("utf-8").splitlines()
    settings = [line for line in lines if re.match(r"#\w+=", line)]

    assert [line for line in lines if line and not line.startswith("#")] == []
    assert {line[1:].partition("=")[0] for line in settings} >= {"DOCKERHUB_TOKEN", "MIRRORD_LISTEN"}


@dataclass
class Confined:
    """A machine with the folders of the units, on which their commands run as they would under systemd."""

    root: Path
    env: dict[str, str]
    port: int

    def command(self, unit: Path) -> list[str]:
        """Return the command of a unit under its filters.

        With root's rights it also runs as another user, without a capability, in a view of the files where the state
        alone can be written.
        """
        text = Unit(unit).one("ExecStart").replace("${MIRRORD_TEXTFILE}", f"{self.root}/state/mirrord.prom")
        words = self.placed(text).split()[1:]
        if os.geteuid() != 0:
            return [sys.executable, str(SANDBOX), str(unit), sys.executable, "-m", "mirrord", *words]
        # What the tests run from may be closed to that user: it is shown to it in another place.
        places = {"python": Path(sys.base_prefix), "code": ROOT, "libraries": Path(sysconfig.get_path("purelib"))}
        python = self.root / "python" / Path(sys.executable).resolve().relative_to(Path(sys.base_prefix).resolve())
        sandbox, shown_unit = (self.root / "code" / file.relative_to(ROOT) for file in (SANDBOX, unit))
        view = [f"mount --bind '{place}' '{self.root}/{name}'" for name, place in places.items()]
        read_only = 'mount -o remount,bind,ro "$(printf %b "$place")" 2>/dev/null || true'
        view += [
            f"findmnt --raw --noheadings --output TARGET | while read -r place; do {read_only}; done",
            f"mount --bind '{self.root}/state' '{self.root}/state'",
            f"mount -o remount,bind,rw '{self.root}/state'",
            'exec "$@"',
        ]
        user = [f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
        lowered = ["setpriv", *user, "--no-new-privs", "--inh-caps=-all", "--bounding-set=-all"]
        paths = [f"PYTHONPATH={self.root}/code:{self.root}/libraries", f"LD_LIBRARY_PATH={self.root}/python/lib"]
        filtered = ["env", *paths, str(python), str(sandbox), str(shown_unit), str(python), "-m", "mirrord", *words]
        return [
            "unshare",
            "--mount",
            "--propagation",
            "private",
            "sh",
            "-ec",
            "\n".join(view),
            "sh",
            *lowered,
            *filtered,
        ]

    def placed(self, text: str) -> str:
        """Return a text with the places of this machine."""
        return text.replace("/var/lib/mirrord", f"{self.root}/state").replace("/etc/mirrord", f"{self.root}/etc")


@pytest.fixture
def confined(world: World, require_tool: RequireTool) -> Iterator[Confined]:
    require_tool("systemd-analyze", "setpriv", "unshare", "findmnt")
    # Not below pytest's own folder, which is closed to the user that the service runs as.
    with tempfile.TemporaryDirectory(prefix="mirrord-unit-") as made:
        root = Path(made)
        root.chmod(0o755)
        for name in ("etc", "python", "code", "libraries"):
            (root / name).mkdir()
        (root / "state").mkdir(mode=0o700)
        if os.geteuid() == 0:
            os.chown(root / "state", NOBODY, NOBODY)
        rules = world.rules_of(EXAMPLES / "jenkins/mirrord.yaml", "registry.example.com")
        rules = rules.replace("username: mirror\n", "username: acme-bot\n") + "    schedule: 1h\n"
        # A program that prints a secret has to run under the filters, too.
        rules = rules.replace("{env: REGISTRY_PASSWORD}", f"{{command: [/bin/sh, -c, 'echo {TARGET_TOKEN}']}}")
        (root / "etc/mirrord.yaml").write_text(rules, "utf-8")
        (root / "etc/token").write_text("the-token-of-the-unit", "utf-8")
        port = free_port()
        env = world.environment(DOCKERHUB_TOKEN=SOURCE_TOKEN, MIRRORD_LISTEN=f"127.0.0.1:{port}", HOME=f"{root}/state")
        # Figures of coverage would be written beside the code.
        env = {name: value for name, value in env.items() if not name.startswith("COVERAGE_")}
        yield Confined(root, env | {"PYTHONDONTWRITEBYTECODE": "1"}, port)


def test_service_and_single_run_work_under_all_that_their_units_forbid(confined: Confined, world: World) -> None:
    unit = SYSTEMD / "mirrord.service"
    env = confined.env | {
        "MIRRORD_STATE": f"sqlite://{confined.root}/state/state.db",
        **dict(pair.split("=", 1) for pair in map(confined.placed, Unit(unit).all("Environment"))),
    }
    service = Process(confined.command(unit), log_dir=world.bin_dir, name="confined", env=env, cwd=confined.root)
    with service:
        service.wait_until(lambda: bool(says(confined.port, "readyz")), what="ready", timeout_s=30)
        service.wait_until(lambda: world.served("mirror/nginx") == world.digests, what="done", timeout_s=30)
        metrics = says(confined.port, "metrics")
        with (confined.root / "etc/mirrord.yaml").open("a", encoding="utf-8") as rules:
            rules.write("    freshness: 2h\n")
        service.signal(signal.SIGHUP)
        service.wait_until(lambda: service.tail(100).count("config_loaded") > 1, what="having the new rules")
        status = Path(f"/proc/{service.pid}/status").read_text("utf-8")
        ended = service.stop()

    assert ended == int(Unit(unit).one("SuccessExitStatus")), service.tail()
    assert "process_resident_memory_bytes" in metrics, "these come from /proc"
    told = dict(re.findall(r"^(\w+):\s+(.*)$", status, re.MULTILINE))
    assert (told["Seccomp"], told["NoNewPrivs"], int(told["CapEff"], 16)) == ("2", "1", 0)
    assert told["Uid"].split() == [str(os.geteuid() or NOBODY)] * 4

    once = subprocess.run(
        confined.command(SYSTEMD / "mirrord-once.service"),
        env=env,
        cwd=confined.root,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert (once.returncode, once.stderr) == (0, "")
    assert {file.name for file in (confined.root / "state").iterdir()} >= {"state.db", "last-run.md", "mirrord.prom"}
    assert sorted(file.name for file in (confined.root / "etc").iterdir()) == ["mirrord.yaml", "token"]


def test_filters_of_the_sandbox_are_in_force(confined: Confined) -> None:
    """Else the test before would prove nothing."""
    tries = {
        "import ctypes; ctypes.CDLL(None).mount(b'a', b'b', b'c', 0, 0)": -signal.SIGSYS,
        "import os; os.chroot('/')": -signal.SIGSYS,
        "import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW)": 1,
        "import mmap; mmap.mmap(-1, 4096, prot=mmap.PROT_WRITE | mmap.PROT_EXEC)": 1,
        "import os, ctypes; assert ctypes.CDLL(None).unshare(0x10000000) == 0": 1,
        "import socket; socket.socket().close()": 0,
    }
    unit = str(SYSTEMD / "mirrord.service")

    codes = {
        code: subprocess.run(
            [sys.executable, str(SANDBOX), unit, sys.executable, "-c", code],
            env=confined.env,
            capture_output=True,
            check=False,
            timeout=30,
        ).returncode
        for code in tries
    }

    assert codes == tries


def says(port: int, path: str) -> str:
    """Return what the service answers, nothing where it does not."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=5) as answer:
            return str(answer.read().decode())
    except OSError:
        return ""
