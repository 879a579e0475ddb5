"""scripts/install.sh says what is missing, and leaves no half-made environment that the next `make` would trip over."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.integration.command import ROOT

NEEDED = ("bash", "chmod", "id", "mkdir", "rm")
PYTHON = """\
#!/bin/bash
case "$*" in
*"version_info <"*) exit {too_old} ;;
*version_info.minor*) echo python3.11-venv ;;
"-m venv --clear "*)
    mkdir -p "$4/bin"
    printf '%s\\n' '#!/bin/bash' '{pip}' > "$4/bin/python"
    chmod +x "$4/bin/python"
    exit {venv_fails} ;;
esac
"""


class Machine:
    """A machine with as good as nothing on it but, if wanted, a Python of its own kind."""

    def __init__(self, root: Path) -> None:
        self._programs = root / "programs"
        self._programs.mkdir()
        for name in NEEDED:
            found = shutil.which(name)
            assert found is not None
            (self._programs / name).symlink_to(found)
        self.checkout = root / "a checkout"
        (self.checkout / "scripts").mkdir(parents=True)
        shutil.copy(ROOT / "scripts/install.sh", self.checkout / "scripts")

    def add_python(self, *, too_old: int = 0, venv_fails: int = 0, pip: str = "exit 0") -> None:
        """Add a python3 whose environments have a python that does what `pip` says for `-m pip`."""
        program = self._programs / "python3"
        program.write_text(PYTHON.format(too_old=too_old, venv_fails=venv_fails, pip=pip))
        program.chmod(0o755)

    def install(self, **env: str) -> tuple[int, str]:
        """Run the script; return its exit status and what it wrote."""
        done = subprocess.run(
            ["scripts/install.sh", ".venv", "run"],
            cwd=self.checkout,
            env={"PATH": str(self._programs), **env},
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
        return done.returncode, done.stdout + done.stderr


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_install_says_that_there_is_no_python(machine: Machine) -> None:
    assert machine.install() == (
        1,
        "Python 3.11 or later is needed and none is on PATH; name one with PYTHON=/path/to/python3\n",
    )


def test_install_says_that_the_named_python_does_not_do(machine: Machine) -> None:
    machine.add_python(too_old=1)

    assert machine.install(PYTHON="python3") == (1, "PYTHON=python3 is no Python 3.11 or later\n")


def test_install_names_the_package_without_which_there_are_no_environments(machine: Machine) -> None:
    machine.add_python(venv_fails=1)

    code, said = machine.install()

    assert code == 1
    assert said.endswith("On Debian and Ubuntu, as root: apt-get install python3.11-venv\nThen run make again.\n")
    assert not (machine.checkout / ".venv").exists()


def test_install_makes_an_environment_anew_that_was_left_half_made(machine: Machine) -> None:
    half = machine.checkout / ".venv/bin/python"
    half.parent.mkdir(parents=True)
    half.write_text("#!/bin/bash\necho no module named pip >&2; exit 1\n")
    half.chmod(0o755)
    machine.add_python()

    code, said = machine.install()

    assert code == 0, said
    assert "no module named pip" not in half.read_text()


def test_install_says_what_may_help_where_packages_cannot_be_had(machine: Machine) -> None:
    machine.add_python(pip='[[ "$*" == *--version ]] || { echo no network >&2; exit 1; }')

    code, said = machine.install()

    assert code == 1
    assert "no network\n" in said
    assert said.endswith(
        "named by HTTPS_PROXY, an index of your own by PIP_INDEX_URL, its certificate authority by PIP_CERT.\n"
    )
